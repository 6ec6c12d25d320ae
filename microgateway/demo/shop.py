"""The demo's three services, a small shop: `users` and `orders` are well behaved, `payments` is flaky on purpose."""

import asyncio
import random
from collections.abc import Sequence
from enum import Enum

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEED = 7
SLOW_SECONDS = 3.0
OUTAGE_REQUESTS = 6
MOST_ORDERS = 1_000

_USERS = {1: "Ada", 2: "Grace", 3: "Katherine"}
_PRODUCTS = [{"id": 1, "name": "Lamp", "cents": 2_900}, {"id": 2, "name": "Chair", "cents": 11_900}]
_ECHOED_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Fate(Enum):
    """What becomes of one request to `payments`."""

    FINE = "fine"
    SLOW = "slow"
    FAILED = "failed"


class Flakiness:
    """The fates of requests, in an order that the seed alone decides.

    One request in twenty begins an outage: it and the next five fail, enough in a row to open a circuit at the default
    threshold. One in ten of the others is slow. In the long run about a quarter of all requests fail.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)  # noqa: S311  chance for a demo, not a secret
        self._outage_left = 0

    def next_fate(self) -> Fate:
        if self._outage_left:
            self._outage_left -= 1
            return Fate.FAILED
        draw = self._random.random()
        if draw < 0.05:
            self._outage_left = OUTAGE_REQUESTS - 1
            return Fate.FAILED
        return Fate.SLOW if draw < 0.15 else Fate.FINE


class Orders:
    """The orders service's memory: the newest thousand orders."""

    def __init__(self) -> None:
        self._orders: dict[int, dict[str, object]] = {1: {"id": 1, "user_id": 1, "product_id": 2}}
        self._newest = 1

    async def list_all(self, request: Request) -> JSONResponse:
        return JSONResponse(list(self._orders.values()))

    async def list_of_user(self, request: Request) -> JSONResponse:
        user_id = request.path_params["user_id"]
        return JSONResponse([order for order in self._orders.values() if order.get("user_id") == user_id])

    async def get(self, request: Request) -> JSONResponse:
        order_id = request.path_params["order_id"]
        order = self._orders.get(order_id)
        return _not_found(f"order {order_id}") if order is None else JSONResponse(order)

    async def create(self, request: Request) -> JSONResponse:
        try:
            wanted = await request.json()
        except ValueError as error:
            return JSONResponse({"error": f"This is not JSON: {error}"}, status_code=400)
        if not isinstance(wanted, dict):
            return JSONResponse({"error": "An order is a JSON object."}, status_code=400)
        self._newest += 1
        order = {**wanted, "id": self._newest}
        self._orders[self._newest] = order
        self._orders.pop(self._newest - MOST_ORDERS, None)
        return JSONResponse(order, status_code=201, headers={"location": f"/orders/{self._newest}"})


def users_service() -> ASGIApp:
    return _service("users", [Route("/users", _list_users), Route("/users/{user_id:int}", _get_user)])


def orders_service() -> ASGIApp:
    orders = Orders()
    return _service(
        "orders",
        [
            Route("/orders", orders.list_all, methods=["GET"]),
            Route("/orders", orders.create, methods=["POST"]),
            Route("/orders/{order_id:int}", orders.get),
            Route("/users/{user_id:int}/orders", orders.list_of_user),
            Route("/products", _list_products),
        ],
    )


def payments_service(flakiness: Flakiness, *, slow_seconds: float = SLOW_SECONDS) -> ASGIApp:
    """/payments is flaky; /health is not, so that one can see why the breaker watches traffic and not only health."""

    async def pay(request: Request) -> JSONResponse:
        fate = flakiness.next_fate()
        if fate is Fate.FAILED:
            return JSONResponse({"error": "The bank does not answer. This is the demo's own doing."}, status_code=500)
        if fate is Fate.SLOW:
            await asyncio.sleep(slow_seconds)
        return JSONResponse({"status": "paid", "fate": fate.value})

    return _service("payments", [Route("/payments", pay, methods=["GET", "POST"])])


def _service(name: str, routes: Sequence[Route]) -> ASGIApp:
    """Every service also answers /health, and /echo with what it was sent."""
    shared = [Route("/health", _health), Route("/echo", _echo, methods=_ECHOED_METHODS)]
    return _named(name, Starlette(routes=[*routes, *shared]))


def _named(name: str, app: ASGIApp) -> ASGIApp:
    """`app` with a field on its answers that tells which service they came from."""
    field = (b"x-demo-service", name.encode())

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], field]}
            await send(message)

        await app(scope, receive, send_named)

    return answer


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _echo(request: Request) -> JSONResponse:
    """What reached the service, to see what the gateway added and took away."""
    return JSONResponse(
        {
            "method": request.method,
            "path": request.scope["raw_path"].decode("latin-1"),
            "query": request.scope["query_string"].decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
            "body_bytes": len(await request.body()),
        }
    )


async def _list_users(request: Request) -> JSONResponse:
    return JSONResponse([{"id": user_id, "name": name} for user_id, name in _USERS.items()])


async def _get_user(request: Request) -> JSONResponse:
    user_id = request.path_params["user_id"]
    name = _USERS.get(user_id)
    return _not_found(f"user {user_id}") if name is None else JSONResponse({"id": user_id, "name": name})


async def _list_products(request: Request) -> JSONResponse:
    return JSONResponse(_PRODUCTS)


def _not_found(what: str) -> JSONResponse:
    return JSONResponse({"error": f"There is no {what}."}, status_code=404)
