"""The control port's application, put together from what it is given."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import Depends, FastAPI

from microgateway import __version__
from microgateway.clock import Clock
from microgateway.control_plane import (
    auth,
    circuit_breakers,
    description,
    gateway,
    health,
    history,
    keys,
    live_stream,
    logs,
    metrics,
    pages,
    prometheus,
    rate_limits,
    rollback,
    routes,
    service_health,
    services,
    sign_in,
    token_issuers,
)
from microgateway.control_plane.access import SIGN_IN, AdminAccess, bearer
from microgateway.control_plane.body_limit import LARGEST_BODY, BodyLimit
from microgateway.control_plane.configuration import Configuration
from microgateway.control_plane.dashboard_files import dashboard_router
from microgateway.control_plane.dependencies import ControlPlane, ProxyAddress
from microgateway.control_plane.description import DescribedApp
from microgateway.control_plane.live_view import Live
from microgateway.control_plane.problems import documented, install_problems
from microgateway.control_plane.query_names import refuse_unknown_names
from microgateway.control_plane.security_headers import SecurityHeaders
from microgateway.control_plane.sessions import Sessions
from microgateway.observability.log_book import LogBook
from microgateway.tokens.verifying import Verifier

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    *,
    configuration: Configuration,
    live: Live,
    log: LogBook,
    clock: Clock,
    admin_token: str,
    verifier: Verifier,
    metrics_token: str | None = None,
    readiness: Callable[[], str | None],
    proxy: Callable[[], ProxyAddress | None] = lambda: None,
    lifespan: Lifespan | None = None,
    largest_body: int = LARGEST_BODY,
) -> FastAPI:
    """The ASGI application. It does no I/O before `lifespan`, within which `configuration` has to be loaded.

    `readiness` says why no traffic should be sent here, or None; `proxy` says where the proxy port is. `largest_body`
    is bytes.
    """
    app = DescribedApp(
        title="MicroGateway",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    sessions = Sessions(admin_token=admin_token, clock=clock)
    app.state.control_plane = ControlPlane(
        configuration, live, log, clock, clock.now(), readiness, verifier, sessions, proxy
    )
    _include_routers(app)
    install_problems(app)
    open_to_all = (auth.router.prefix, SIGN_IN)
    app.add_middleware(BodyLimit, largest=largest_body, open_to_all=open_to_all, largest_from_all=auth.LARGEST_BODY)
    app.add_middleware(AdminAccess, sessions=sessions, metrics_token=metrics_token)
    app.add_middleware(SecurityHeaders)  # added last, so it is outermost
    return app


def _include_routers(app: FastAPI) -> None:
    guarded = [Depends(bearer()), Depends(refuse_unknown_names)]
    resources = (
        services,
        routes,
        keys,
        rate_limits,
        token_issuers,
        circuit_breakers,
        service_health,
        metrics,
        logs,
        gateway,
        history,
        rollback,
        live_stream,
    )
    for resource in resources:
        app.include_router(resource.router, dependencies=guarded, responses=documented(401, 422, 503))
    app.include_router(prometheus.router, dependencies=[Depends(bearer())], responses=documented(401))
    app.include_router(auth.router)
    app.include_router(sign_in.router)
    app.include_router(health.router)
    app.include_router(pages.router)
    app.include_router(description.router)
    app.include_router(dashboard_router())
