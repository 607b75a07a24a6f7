"""The client behind trusted proxies."""

from starlette.types import ASGIApp, Receive, Scope, Send

from ..utils.client_address import TrustedProxies


class Forwarded:
    """The outermost application: ``client`` and ``scheme`` of a scope are the client's where the peer is a trusted proxy."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        if peer is not None and self._proxies.trusts(peer[0]):
            scope["client"] = (self._proxies.client_of(peer[0], scope["headers"]), 0)
            scheme = self._proxies.scheme_of(peer[0], scope["headers"])
            if scheme is not None and scope["type"] == "http":
                scope["scheme"] = scheme
        await self._app(scope, receive, send)
