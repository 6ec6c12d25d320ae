#!/usr/bin/env bash
# Sets up what the tests need (quick when that is done already), then runs them on every core: ./test.sh [pytest arguments]
# One more at a time than there are cores, since some always wait: for a process, a browser, or a limit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

source scripts/environment.sh
source scripts/browser.sh
prepare_environment requirements.txt requirements-dev.txt
prepare_browser
exec "$VENV_PYTHON" -m pytest --numprocesses "$(($(nproc) + 1))" --dist worksteal --durations 20 "$@"
