"""Makes sure that the key of a token is known, if its issuer has it, before the call that needs it."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class KeysFirst:
    def __init__(self, app: ASGIApp, prepare: Callable[[str], Awaitable[None]]) -> None:
        self._app = app
        self._prepare = prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"authorization":
                    scheme, _, token = value.decode("latin-1").partition(" ")
                    if scheme.lower() == "bearer":
                        await self._prepare(token.strip())
                    break
        await self._app(scope, receive, send)
