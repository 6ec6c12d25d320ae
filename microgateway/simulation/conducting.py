"""One request of an operator's that goes the way of traffic: tokens are taken, circuits hear of it, it is logged.

Only the client is not real, and the service where it is simulated. What the judgement saw is told by an explanation at
the same moment, since the request itself is to go the way of traffic, which nobody watches.
"""

import asyncio
from dataclasses import dataclass

from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest, Stage, StageVerdict
from microgateway.core.fields import HeadError
from microgateway.core.framing import ChunkedReader
from microgateway.data_plane.pool import Pools
from microgateway.exchange import Exchange
from microgateway.simulation.explaining import Running, explain
from microgateway.simulation.headers import fields_of
from microgateway.simulation.scene import Scene, Setting
from microgateway.simulation.scripts import ScriptedServices
from microgateway.simulation.telling import asked_of, told
from microgateway.simulation.upstream_wires import WirePools
from microgateway.simulation.worlds import RealWorld

LARGEST_ANSWER = 1_048_576  # bytes that are kept of it
LONGEST = 120.0  # seconds; then the client hangs up
MILLISECONDS = 1_000.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    exchange: Exchange
    answer: bytes


async def conduct(request: GatewayRequest, running: Running) -> GatewayAnswer:
    """Sends it, and tells what came back."""
    asked = asked_of(request)
    judged = told(explain(asked, running))
    loop = asyncio.get_running_loop()
    world = RealWorld(clock=running.clock, loop=loop)
    snapshot = running.snapshot()
    setting = Setting(
        world=world,
        options=running.options,
        state=running.state,
        snapshot=snapshot,
        recorder=running.recorder,
        port=running.port(),
    )
    scene = Scene(setting, most_kept=LARGEST_ANSWER)
    if request.upstream == "live":
        scene.plane.pools = Pools(scene.plane)
    else:
        services = ScriptedServices(snapshot, world, request.script, {}, request.seed)
        scene.plane.pools = WirePools(scene.plane, world, services.of)
    ended: asyncio.Future[_Outcome] = loop.create_future()
    hang_up = scene.send(
        asked.octets(running.options.api_key_header),
        asked.client_ip,
        lambda exchange, answer: None if ended.done() else ended.set_result(_Outcome(exchange, answer)),
    )
    try:
        done, _ = await asyncio.wait([ended], timeout=LONGEST)
        if not done:
            hang_up()
        return _answer(request, judged, await ended)
    finally:
        scene.close()
        scene.plane.pools.close()
        world.close()


def _answer(request: GatewayRequest, judged: GatewayAnswer, outcome: _Outcome) -> GatewayAnswer:
    exchange = outcome.exchange
    head, _, body = _final(outcome.answer).partition(b"\r\n\r\n")
    fields = fields_of(head)
    stages = [_attempts(exchange) if stage.stage == "attempt" else stage for stage in judged.stages]
    return judged.model_copy(
        update={
            "upstream": request.upstream,
            "status": exchange.status,
            "headers": fields,
            "body": _text(fields, body),
            "body_is_whole": len(outcome.answer) < LARGEST_ANSWER,
            "stage": exchange.stage or "proxy",
            "code": exchange.code or None,
            "latency_ms": round((exchange.ended - exchange.started) * MILLISECONDS, 3),
            "request_id": exchange.request_id.decode("latin-1"),
            "stages": stages,
        }
    )


def _final(answer: bytes) -> bytes:
    """Without the interim answers that may come before."""
    while answer.startswith(b"HTTP/1.1 1") and not answer.startswith(b"HTTP/1.1 101 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    return answer


def _text(fields: list[tuple[str, str]], body: bytes) -> str | None:
    """The body as text, as far as it came; what is no UTF-8 is replaced."""
    if any(name.lower() == "transfer-encoding" for name, _ in fields):
        try:
            body = b"".join(ChunkedReader().feed(body)[0])
        except HeadError:
            return None
    return body.decode(errors="replace") if body else None


def _attempts(exchange: Exchange) -> Stage:
    if not exchange.attempts:
        return Stage(stage="attempt", verdict="not_reached", why="It ends before.")
    failed = [
        f"{target} failed ({fault}, {verdict}) after {(at - exchange.started) * MILLISECONDS:.1f} ms"
        for fault, verdict, target, at in exchange.failed_attempts or ()
    ]
    if exchange.upstream_status:
        took = (exchange.answered - exchange.sent) * MILLISECONDS
        failed.append(f"{exchange.upstream} answered {exchange.upstream_status} after {took:.1f} ms")
    verdict: StageVerdict = "passed" if exchange.upstream_status else "refused"
    took_us = round((exchange.ended - exchange.started) * 1e6, 1)
    why = "; ".join(failed) or "The request ended before a connection was there."
    return Stage(stage="attempt", verdict=verdict, why=why, code=exchange.code or None, took_us=took_us)
