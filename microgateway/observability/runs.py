"""Runs: neighbours in a batch of exchanges that are alike in all that is counted of them but durations and sizes.

Traffic is often the same client asking for the same thing. What an exchange was is then found out once for a run, and
usage and metrics add a number instead of counting to it.
"""

from collections.abc import Sequence

from microgateway.exchange import Exchange

Run = Sequence[Exchange]
"""At least one: of one judgement, method, status, code and stage, and with as many attempts."""


def runs_of(batch: Sequence[Exchange]) -> list[Run]:
    """The batch, cut where an exchange is unlike the one before it.

    Judgements are compared as objects: requests that were judged alike often share one.
    """
    runs: list[Run] = []
    begin = 0
    judgement = method = status = code = stage = attempts = None
    for place, exchange in enumerate(batch):
        if (
            exchange.judgement is not judgement
            or exchange.status != status
            or exchange.code is not code
            or exchange.attempts != attempts
            or exchange.stage is not stage
            or exchange.method != method
        ):
            if place:
                runs.append(batch[begin:place])
            begin = place
            judgement, method, status = exchange.judgement, exchange.method, exchange.status
            code, stage, attempts = exchange.code, exchange.stage, exchange.attempts
    if batch:
        runs.append(batch[begin:])
    return runs
