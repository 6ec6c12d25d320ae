#!/usr/bin/env bash
# Sets up what the gateway needs (quick when that is done already), then runs it: ./start.sh [--demo] [--host H] [--port N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

source scripts/environment.sh
prepare_environment requirements.txt
exec "$VENV_PYTHON" -m microgateway run "$@"
