"""What stands before the engine: whose page it is, how many there are, and that what comes can be read at all."""

import asyncio
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..domain.close_codes import CloseCode
from ..domain.origins import origin_allowed
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.origin_refusals import OriginRefusals
from .codec import GARBAGE, sound

MAX_BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 10.0
_SEPARATOR: Final = "\x1e"
_POSTED: Final = frozenset({"1", "3"})
_FRAMED: Final = frozenset({"1", "2probe", "3", "5"})


class Guard:
    """``max_sockets``: of sockets in this process, those of all transports."""

    def __init__(
        self, engine: ASGIApp, registry: ConnectionRegistry, origins: Collection[str], max_sockets: int
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._origins = origins
        self._max_sockets = max_sockets
        self._refusals = OriginRefusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        framed = scope["type"] == "websocket"
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and not origin_allowed(origin, headers.get(b"host", ""), self._origins):
            detail = self._refusals.document(origin)["detail"].encode()
            if framed:
                await receive()
                await send({"type": "websocket.close"})
            else:
                await _answer(send, 403, detail)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "j" in query:
            await _answer(send, 400, b"JSONP is not served") if not framed else await send(
                {"type": "websocket.close"}
            )
            return
        draining = self._registry.draining
        if "sid" not in query and (draining or len(self._registry.connections) >= self._max_sockets):
            if framed:
                await receive()
                await send({"type": "websocket.accept"})
                await send(
                    {
                        "type": "websocket.close",
                        "code": CloseCode.RESTART if draining else CloseCode.OVERLOADED,
                    }
                )
            else:
                await _answer(send, 503, b"Not now")
            return
        if framed:
            await self._engine(scope, _readable(receive), send)
        elif scope["method"] == "POST":
            await self._posted(scope, receive, send)
        else:
            await self._engine(scope, receive, send)

    async def _posted(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(receive)
        except TimeoutError:
            body = None
        if body is None:
            return
        if len(body) > MAX_BODY_BYTES:
            await _answer(send, 413, b"Too large")
            return
        try:
            items = body.decode().split(_SEPARATOR)
        except UnicodeDecodeError:
            items = [GARBAGE]
        clean = _SEPARATOR.join(item if sound(item, _POSTED) else GARBAGE for item in items).encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope["headers"] = [*headers, (b"content-length", b"%d" % len(clean))]

        async def once() -> Message:
            return {"type": "http.request", "body": clean, "more_body": False}

        await self._engine(scope, once, send)


async def _body(receive: Receive) -> bytes | None:
    """At most a little more than what is allowed; none where the client went."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts += message.get("body", b"")
        if not message.get("more_body") or len(parts) > MAX_BODY_BYTES:
            return bytes(parts)


def _readable(receive: Receive) -> Receive:
    """Frames that the engine would fail on are garbage to Socket.IO, which answers them."""

    async def read() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive":
            text = message.get("text")
            if text is None or not sound(text, _FRAMED):
                return {"type": "websocket.receive", "text": GARBAGE}
        return message

    return read


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
