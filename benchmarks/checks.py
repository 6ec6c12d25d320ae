"""A contender must do the whole job, or its figure means nothing: these checks look, before and after the rounds."""

import http.client
import time

from benchmarks.errors import BenchmarkError
from benchmarks.peers.contender import Call, Contender
from benchmarks.workload import HEADERS

TIMEOUT = 5.0
CONFIGURED_SECONDS = 15.0
RECORD_SECONDS = 20.0  # Envoy flushes its log every 10 s
POLL_SECONDS = 0.1


def check_policy(contender: Contender) -> None:
    """Key, stranger and limiter, each by a real request. Raises `BenchmarkError` on the first wrong answer."""
    _wait_until_configured(contender)
    _expect(contender, "with its key", contender.call, 200)
    _expect(contender, "without a key", Call(contender.call.path, None), contender.stranger)
    if contender.stranger != 200:
        _expect(contender, "with a wrong key", Call(contender.call.path, "mgw_live_wrong"), contender.stranger)
    metered = contender.metered
    if metered is None:
        return
    for number in range(metered.burst):
        _expect(contender, f"metered, request {number + 1} of {metered.burst}", metered.call, 200)
    _expect(contender, "metered, past its burst", metered.call, 429)


def check_records(contender: Contender, requests: int) -> None:
    """Every request that wrk counted is in the access record. Raises `BenchmarkError` when some stay out."""
    if contender.records is None:
        return
    deadline = time.monotonic() + RECORD_SECONDS
    while (found := contender.records()) < requests:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{contender.name}: {requests} requests, but only {found} in its access record")
        time.sleep(POLL_SECONDS)


def _wait_until_configured(contender: Contender) -> None:
    """Some (Traefik) listen before they have read their routes; what is wrong for longer is for the checks to tell."""
    deadline = time.monotonic() + CONFIGURED_SECONDS
    while _ask(contender, contender.call) != 200 and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _expect(contender: Contender, what: str, call: Call, expected: int) -> None:
    status = _ask(contender, call)
    if status != expected:
        raise BenchmarkError(f"{contender.name} answered a request {what} with {status}, expected {expected}")


def _ask(contender: Contender, call: Call) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", contender.port, timeout=TIMEOUT)
    try:
        connection.request("GET", call.path, headers=HEADERS | dict(call.headers()))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{contender.name} gave no answer: {error!r}\n{contender.process.tail()}") from error
    finally:
        connection.close()
