"""A data folder whose tables are made already: to make them anew for every test takes longer than most tests do."""

import asyncio
import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from microgateway.persistence.database import Database, locate_database, locate_log
from microgateway.persistence.migration import REQUEST_LOG


def lay_tables(folder: Path) -> None:
    """Makes the folder as a gateway does, with its two databases in it, both empty. What is there already stays."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        for name, content in _migrated().items():
            (folder / name).write_bytes(content)


@functools.cache
def _migrated() -> dict[str, bytes]:
    """The two files, made once for all tests of a process. They have a loop of their own: the test's may be running."""
    with tempfile.TemporaryDirectory() as text, ThreadPoolExecutor(1) as elsewhere:
        folder = Path(text) / "data"
        elsewhere.submit(asyncio.run, _migrate(folder)).result()
        return {file.name: file.read_bytes() for file in folder.iterdir()}


async def _migrate(folder: Path) -> None:
    url = locate_database(None, folder)
    for database in (Database(url), Database(locate_log(url, folder), REQUEST_LOG)):
        await database.open()
        await database.close()
