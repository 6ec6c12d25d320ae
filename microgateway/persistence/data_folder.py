"""The data folder: the SQLite file and the generated secrets live here, so nobody else may look inside."""

import os
from pathlib import Path

from microgateway.errors import StartupError


def prepare_data_folder(folder: Path) -> None:
    """Creates the folder (mode 0700) unless it is there. Raises `StartupError` when it is of no use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StartupError(f"MICROGATEWAY_DATA_DIR: {str(folder)!r} is a file, and no folder for data") from error
    except OSError as error:
        reason = error.strerror or "it can't be created"
        raise StartupError(f"MICROGATEWAY_DATA_DIR: the data folder {str(folder)!r} can't be used: {reason}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"MICROGATEWAY_DATA_DIR: the data folder {str(folder)!r} can't be read and written")
