"""A secret of the gateway's own: made once, kept in a file of the data folder that nobody else may read (0600)."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from microgateway.errors import StartupError
from microgateway.persistence.data_folder import prepare_data_folder

SECRET_BYTES = 32


class LoadedSecret(NamedTuple):
    """Its text, and whether this start has made it."""

    text: str
    newly_created: bool


def load_or_create_secret(data_dir: Path, name: str, *, called: str) -> LoadedSecret:
    """The secret in this file of the data folder. `called` is what people call it. Raises `StartupError`."""
    prepare_data_folder(data_dir)
    path = data_dir / name
    try:
        return _load(path, called) if path.exists() else _create(path, called)
    except OSError as error:
        raise StartupError(f"the {called} in {str(path)!r} can't be used: {error.strerror}") from error


def _create(path: Path, called: str) -> LoadedSecret:
    text = secrets.token_urlsafe(SECRET_BYTES)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
    try:
        os.link(unfinished, path)  # whole or not at all; and of two that start at once, one wins
    except FileExistsError:
        return _load(path, called)
    finally:
        unfinished.unlink()
    return LoadedSecret(text, newly_created=True)


def _load(path: Path, called: str) -> LoadedSecret:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        raise StartupError(f"the {called} file {str(path)!r} is empty; delete it to have a new one made")
    return LoadedSecret(text, newly_created=False)
