# shellcheck shell=bash
# Sourced by start.sh, test.sh and scripts/check: finds a Python, and keeps .venv in step with the requirements files.
# The caller stands in the repository's root.

readonly VENV_PYTHON=.venv/bin/python
readonly INSTALLED=.venv/installed # copies of the requirements files that .venv was made from
readonly RECENT_ENOUGH='import sys; sys.exit(sys.version_info < (3, 11))'

# prepare_environment FILE...: makes sure that .venv has what the last FILE lists; it includes those before it.
prepare_environment() {
    if is_python_recent "$VENV_PYTHON" && is_installed "$@"; then
        return
    fi
    create_venv
    echo "Installing ${*: -1} into .venv ..." >&2
    rm -rf "$INSTALLED" # an install that is cut off must not look finished
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --requirement "${*: -1}"
    mkdir "$INSTALLED"
    cp "$@" "$INSTALLED"
}

is_installed() {
    local file
    for file in "$@"; do
        cmp --silent "$file" "$INSTALLED/$file" || return 1
    done
}

is_python_recent() {
    command -v "$1" >/dev/null && "$1" -c "$RECENT_ENOUGH" 2>/dev/null
}

create_venv() {
    if is_python_recent "$VENV_PYTHON" && "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
        return
    fi
    local python
    python="$(find_python)"
    echo "Creating .venv with $python ..." >&2
    if ! "$python" -m venv --clear .venv; then
        echo "error: $python could not create .venv. On Debian and Ubuntu: apt install python3-venv" >&2
        return 1
    fi
}

# Prints the first Python that is recent enough. MICROGATEWAY_PYTHON, when it is set, is the only candidate.
find_python() {
    local candidate
    for candidate in ${MICROGATEWAY_PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        if is_python_recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if [[ -n ${MICROGATEWAY_PYTHON:-} ]]; then
        echo "error: MICROGATEWAY_PYTHON is '$MICROGATEWAY_PYTHON', which is not Python 3.11 or newer." >&2
    else
        echo "error: MicroGateway needs Python 3.11 or newer, and none is on the PATH." >&2
    fi
    return 1
}
