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

from ..domain.errors import PollroomError
from ..services.rooms.connections import BAD_TOKEN, TOO_SLOW, ConnectionRegistry
from ..services.rooms.messages import ErrorMessage
from ..services.rooms.participants import Participants
from ..services.rooms.rate_limit import TokenBucket
from .codec import EVENT, Asked, Handshake, Packet
from .events import Events
from .guard import LARGEST_BODY, Front
from .member import Member
from .outbox import Outbox
from .rooms import Rooms

CONNECT_SECONDS: Final = 10.0
"""For a handshake, once the engine is connected."""

LEFT: Final = 1000
SESSION: Final = "pollroom.socketio"
"""Where a connection's scope keeps the engine's session."""


class Gateway:
    """Open one only where its extra is installed. Its rooms are a sink of the feeds from then on.

    ``app`` is to be mounted at ``/socket.io``; ``close`` ends the library's own task.
    """

    def __init__(
        self,
        attending: Participants,
        departures: ConnectionRegistry,
        origins: Collection[str],
        *,
        message_rate: float,
        ping_interval: float,
        largest_number: int,
    ) -> None:
        self._departures = departures
        self._message_rate = message_rate
        self._rooms = Rooms()
        attending.opened(self._rooms)
        self._events = Events(attending, self._rooms, departures)
        self._members: dict[str, Member] = {}
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
            max_http_buffer_size=LARGEST_BODY,
            ping_interval=ping_interval,
            ping_timeout=max(ping_interval, 1.0),  # clients are told whole seconds of the interval
            logger=log,
            engineio_logger=log,
        )
        Payload.max_decode_packets = LARGEST_BODY  # what limits them is the body
        engine = self._server.eio
        engine.create_queue = Outbox
        self._library = dict(engine.handlers)
        engine.on("connect", self._arrived)
        engine.on("message", self._received)
        engine.on("disconnect", self._gone)
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._left)
        self._server.on(EVENT, self._asked)
        self.app = Front(self._serve, departures, origins, largest_number)

    async def close(self) -> None:
        await self._server.shutdown()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        (named,) = parse_qs(scope["query_string"].decode("latin-1")).get("sid", [""])[:1]
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send, named)
            return
        member = self._members.get(named)
        if member is not None and member.closed and member.outbox.empty():
            member.polled()
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
            if (member := self._members.get(named)) is not None:
                member.abort = _abort_of(scope)
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
        member = Member(socket, self._rooms, TokenBucket(self._message_rate), _abort_of(scope))
        member.outbox.on_full = partial(self._departures.end, member, TOO_SLOW)
        member.forsake = partial(self._forsake, engine_id)
        self._members[engine_id] = member
        self._departures.arrived(member)
        asyncio.get_running_loop().call_later(CONNECT_SECONDS, self._expect, member)
        return await self._library["connect"](engine_id, environ)

    def _expect(self, member: Member) -> None:
        if not member.connected:
            self._departures.end(member, LEFT)

    async def _received(self, engine_id: str, data: object) -> None:
        member = self._members.get(engine_id)
        if member is None:
            return
        async with member.turn:
            await member.reading.wait()
            if member.closed:
                return
            member.over = member.budget.take()
            if not member.over or not (isinstance(data, str) and data.startswith("0")):
                await self._library["message"](engine_id, data)

    async def _gone(self, engine_id: str, reason: str) -> None:
        member = self._members.pop(engine_id, None)
        if member is not None:
            self._departures.gone(member)
        await self._library["disconnect"](engine_id, reason)

    async def _connected(self, sid: str, environ: dict[str, Any], handshake: Handshake | None) -> None:
        member = self._member(sid)
        if member is None:
            return
        loop = asyncio.get_running_loop()
        try:
            said = self._events.identify(member, handshake)
        except PollroomError as error:
            loop.call_soon(self._departures.end, member, BAD_TOKEN)
            raise ConnectionRefusedError(error.code, msgspec.to_builtins(ErrorMessage.of(error))) from None
        member.connected = True
        if said is not None:
            loop.call_soon(member.send, said)  # after the library's own answer

    async def _left(self, sid: str, reason: str) -> None:
        if (member := self._member(sid)) is not None:
            self._departures.end(member, LEFT)

    async def _asked(self, sid: str, asked: Asked) -> None:
        if (member := self._member(sid)) is not None:
            await self._events.handle(member, asked)

    def _member(self, sid: str) -> Member | None:
        return self._members.get(self._server.manager.eio_sid_from_sid(sid, "/") or "")

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
