"""The HTTP transport. ``application`` is what the server runs: the router inside the transport's own layer."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Lifespan

from ..utils.client_address import TrustedProxies
from .forwarded import Forwarded
from .middleware import Transport
from .own_users import KeysFirst
from .resource import not_found
from .routes import Services, routes

__all__ = ["Services", "application"]


def application(
    services: Services,
    websocket_endpoint: Callable[..., Any],
    allowed_origins: Collection[str],
    gateway: ASGIApp | None = None,
    lifespan: Lifespan[Any] | None = None,
    pages: Sequence[BaseRoute] = (),
    proxies: TrustedProxies | None = None,
    prepare: Callable[[str], Awaitable[None]] | None = None,
) -> ASGIApp:
    """Starlette's router without its application class: errors and unknown addresses are answered here.

    ``gateway`` is mounted at ``/socket.io``. ``pages`` are tried last. ``prepare`` is called with the token of each request.
    ``lifespan`` is called with None instead of an app.
    """
    router = Router(
        [*routes(services, websocket_endpoint, gateway), *pages],
        redirect_slashes=False,
        default=not_found,
        lifespan=lifespan,
    )
    app = Transport(KeysFirst(router, prepare) if prepare else router, allowed_origins)
    return Forwarded(app, proxies) if proxies else app
