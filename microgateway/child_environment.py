"""The environment of a child process that runs a module of this package."""

import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """This process's own, with this package importable, wherever it is that the gateway was started."""
    here = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{path}" if path else here}
