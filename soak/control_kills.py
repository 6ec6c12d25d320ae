"""`kill -9` for the control process under load: traffic must not notice, and the log must have every row in the end."""

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from soak.clients import Client, Tally, Work, ask_and_check, going_on, pause
from soak.facts import Report
from soak.family import Family
from soak.gateway import Gateway, Operator, Upstream
from soak.messages import BrokenError
from soak.processes import SoakError, becomes_true, until
from soak.stream import GoneError

LOG = "microgateway-log.db"
CLIENTS = 16
BETWEEN = 1.0  # seconds of traffic before each kill
PATIENCE = 60.0
ROWS_WITHIN = 10.0  # seconds for the last row


def asking(port: int, name: str, tally: Tally, rest: float) -> Work:
    async def run(over: asyncio.Event) -> None:
        client = Client(port, name)
        while not over.is_set():
            await ask_and_check(client, "/rows/now", tally)
            await pause(over, rest)
        client.close()

    return run


async def kill_control(
    gateway: Gateway,
    family: Family,
    upstream: Upstream,
    report: Report,
    *,
    kills: int,
    clients: int = CLIENTS,
    rest: float = 0.0,
) -> None:
    """So many times. `rest` is seconds between an answer and the same client's next request."""
    await gateway.operator.create_route("/rows", upstream.url)
    tally, back = Tally(), list[float]()
    async with going_on([asking(gateway.port, f"client{number}", tally, rest) for number in range(clients)]):
        for _ in range(kills):
            await asyncio.sleep(BETWEEN)
            (control,) = family.members("control")
            began, before = time.monotonic(), tally.answered
            os.kill(control, signal.SIGKILL)
            await until(lambda gone=control: family.members("control") not in ([], [gone]), "another one is started")  # type: ignore[misc]
            await becomes_true(lambda: _is_ready(gateway.operator), PATIENCE)
            back.append(time.monotonic() - began)
            report.note(f"{tally.answered - before} requests answered meanwhile")
    ended = time.monotonic()
    report.none("failed request while there is no control process", tally.failures, of=f"{tally.answered} requests")
    report.check(
        "the control port is back each time",
        len(back) == kills,
        f"{kills} kills; {median(back):.2f} s, at most {max(back):.2f} s",
    )
    log = gateway.data / LOG
    await becomes_true(lambda: _has(log, tally.answered), PATIENCE)
    took, (rows, requests) = time.monotonic() - ended, _rows(log)
    dropped = (await gateway.operator.call("GET", "/api/logs?page_size=1"))["rows_dropped"]
    report.check(
        "every request has one row of the log",
        rows == requests == tally.answered,
        f"{rows} rows of {requests} requests, {tally.answered} answers, {dropped} told as dropped",
    )
    report.check(
        f"the last row is there within {ROWS_WITHIN:g} s of its request",
        took < ROWS_WITHIN,
        f"{took:.1f} s",
        needs_quiet=True,
    )


async def _is_ready(operator: Operator) -> bool:
    try:
        await operator.read("/readyz")
    except (GoneError, BrokenError, SoakError):
        return False
    return True


async def _has(log: Path, wanted: int) -> bool:
    return _rows(log)[0] >= wanted


def _rows(log: Path) -> tuple[int, int]:
    """Rows of these clients in the database, and how many requests they are of."""
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as database:
        counts = "select count(*), count(distinct request_id) from request_log where path like '/rows/%'"
        rows, requests = database.execute(counts).fetchone()
    return rows, requests
