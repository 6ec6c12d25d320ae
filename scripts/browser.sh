# shellcheck shell=bash
# Sourced by test.sh: Chromium, and the rules that look for barriers in a page, for the tests of the dashboard. Where they
# are missing and can't be had, the tests that need them are skipped and say so.

readonly AXE_VERSION=4.11.0
readonly AXE_FOLDER=.axe

prepare_browser() {
    [[ -d tests/dashboard ]] || return 0
    install_chromium
    install_axe
}

install_chromium() {
    if command -v chromium chromium-browser google-chrome >/dev/null; then
        return
    fi
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "There is no Chromium, so the dashboard's tests are skipped. On Debian: apt install chromium" >&2
        return
    fi
    echo "Installing Chromium ..." >&2
    if ! { apt-get update && apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1; then
        echo "Chromium could not be installed, so the dashboard's tests are skipped." >&2
    fi
}

install_axe() {
    local installed=$AXE_FOLDER/node_modules/axe-core/package.json
    if grep --quiet --silent "\"version\": \"$AXE_VERSION\"" "$installed" 2>/dev/null; then
        return
    fi
    if ! command -v npm >/dev/null; then
        echo "There is no npm to fetch axe-core with, so the dashboard is not searched for barriers." >&2
        return
    fi
    echo "Installing axe-core into $AXE_FOLDER ..." >&2
    if ! npm install --silent --no-save --no-audit --no-fund --prefix "$AXE_FOLDER" "axe-core@$AXE_VERSION" >/dev/null 2>&1; then
        echo "axe-core could not be fetched, so the dashboard is not searched for barriers." >&2
    fi
}
