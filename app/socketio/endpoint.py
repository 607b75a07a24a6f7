"""The Socket.IO gateway, ``/socket.io``: one more way into the same rooms, for clients that speak it."""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import socketio
from engineio.payload import Payload
from socketio.exceptions import ConnectionRefusedError
from starlette.types import Receive, Scope, Send

from ..domain.close_codes import CloseCode
from ..domain.errors import PollroomError
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.dispatcher import Dispatcher
from ..services.rooms.messages import ErrorMessage
from ..services.rooms.participants import Participants
from ..services.rooms.rate_limit import TokenBucket
from .codec import EVENT, Asked, Handshake, Packet
from .connection import SocketIOConnection
from .events import SocketIOEvents
from .guard import MAX_BODY_BYTES, Guard
from .packet_queue import PacketQueue
from .rooms import SocketIORooms

CONNECT_SECONDS: Final = 10.0
"""For a handshake, once the engine is connected."""

SESSION: Final = "pollroom.socketio"
"""Where a connection's scope keeps the engine's session."""


class Gateway:
    """Open one only where its extra is installed. Its rooms are a sink of the feeds from then on.

    ``app`` is to be mounted at ``/socket.io``; ``close`` ends the library's own task.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        participants: Participants,
        registry: ConnectionRegistry,
        origins: Collection[str],
        *,
        message_rate: float,
        ping_interval: float,
        max_sockets: int,
    ) -> None:
        self._registry = registry
        self._message_rate = message_rate
        self._rooms = SocketIORooms()
        participants.opened(self._rooms)
        self._events = SocketIOEvents(dispatcher, participants)
        self._connections: dict[str, SocketIOConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        log = logging.getLogger(__name__)
        log.setLevel(logging.ERROR)
        log.addFilter(lambda record: record.exc_info is not None)  # a client's mistakes are no errors of ours
        # Origins and their headers are decided by us, for HTTP and WebSockets alike; events are handled one by one.
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            serializer=Packet,
            async_handlers=False,
            cors_allowed_origins=[],
            http_compression=False,
            max_http_buffer_size=MAX_BODY_BYTES,
            ping_interval=ping_interval,
            ping_timeout=max(ping_interval, 1.0),  # clients are told whole seconds of the interval
            logger=log,
            engineio_logger=log,
        )
        Payload.max_decode_packets = MAX_BODY_BYTES  # what limits them is the body
        engine = self._server.eio
        engine.create_queue = PacketQueue
        self._library = dict(engine.handlers)
        engine.on("connect", self._arrived)
        engine.on("message", self._received)
        engine.on("disconnect", self._gone)
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._left)
        self._server.on(EVENT, self._asked)
        self.app = Guard(self._serve, registry, origins, max_sockets)

    async def close(self) -> None:
        await self._server.shutdown()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        (named,) = parse_qs(scope["query_string"].decode("latin-1")).get("sid", [""])[:1]
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send, named)
            return
        connection = self._connections.get(named)
        if connection is not None and connection.closed and connection.outbox.empty():
            connection.polled()
        await self._server.handle_request(scope, receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send, named: str) -> None:
        """An upgrade names the engine's session; a new connection gets one meanwhile."""
        sockets = self._server.eio.sockets
        upgrading = sockets.get(named)
        if upgrading is not None:
            if upgrading.upgraded or upgrading.upgrading:
                await receive()
                await send({"type": "websocket.close"})
                return
            if (connection := self._connections.get(named)) is not None:
                connection.abort = _abort_of(scope)
        try:
            await self._server.handle_request(scope, receive, send)
        finally:
            if upgrading is None:
                self._forsake(scope.get(SESSION, ""))
            elif upgrading.upgraded:
                self._forsake(named)
            else:
                upgrading.upgrading = False  # it failed: the session goes on by polling

    async def _arrived(self, engine_id: str, environ: dict[str, Any]) -> Any:
        scope = environ["asgi.scope"]
        scope[SESSION] = engine_id
        socket = self._server.eio.sockets[engine_id]
        connection = SocketIOConnection(
            socket,
            self._rooms,
            TokenBucket(self._message_rate),
            _abort_of(scope),
            scope["client"][0] if scope.get("client") else None,
        )
        connection.outbox.on_full = partial(self._registry.end, connection, CloseCode.TOO_SLOW)
        connection.forsake = partial(self._forsake, engine_id)
        self._connections[engine_id] = connection
        self._registry.add(connection)
        asyncio.get_running_loop().call_later(CONNECT_SECONDS, self._expect, connection)
        return await self._library["connect"](engine_id, environ)

    def _expect(self, connection: SocketIOConnection) -> None:
        if not connection.connected:
            self._registry.end(connection, CloseCode.NORMAL)

    async def _received(self, engine_id: str, data: object) -> None:
        connection = self._connections.get(engine_id)
        if connection is None:
            return
        async with connection.turn:
            await connection.reading.wait()
            if connection.closed:
                return
            connection.over = connection.rate_limit.take()
            if not connection.over or not (isinstance(data, str) and data.startswith("0")):
                await self._library["message"](engine_id, data)

    async def _gone(self, engine_id: str, reason: str) -> None:
        connection = self._connections.pop(engine_id, None)
        if connection is not None:
            self._registry.remove(connection)
        await self._library["disconnect"](engine_id, reason)

    async def _connected(self, sid: str, environ: dict[str, Any], handshake: Handshake | None) -> None:
        connection = self._connection(sid)
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        try:
            said = await self._events.identify(connection, handshake)
        except PollroomError as error:
            loop.call_soon(self._registry.end, connection, CloseCode.TOKEN_INVALID)
            raise ConnectionRefusedError(error.code, msgspec.to_builtins(ErrorMessage.of(error))) from None
        connection.connected = True
        if said is not None:
            loop.call_soon(connection.send, said)  # after the library's own answer

    async def _left(self, sid: str, reason: str) -> None:
        if (connection := self._connection(sid)) is not None:
            self._registry.end(connection, CloseCode.NORMAL)

    async def _asked(self, sid: str, asked: Asked) -> None:
        if (connection := self._connection(sid)) is not None:
            await self._events.handle(connection, asked)

    def _connection(self, sid: str) -> SocketIOConnection | None:
        return self._connections.get(self._server.manager.eio_sid_from_sid(sid, "/") or "")

    def _forsake(self, engine_id: str) -> None:
        """End a session for the library, whatever its client does."""
        socket = self._server.eio.sockets.pop(engine_id, None)
        if socket is not None and not socket.closed:
            task = asyncio.ensure_future(socket.close(wait=False, abort=True))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _abort_of(scope: Scope) -> Callable[[], None] | None:
    found: Callable[[], None] | None = scope.get("extensions", {}).get("pollroom.abort")
    return found
