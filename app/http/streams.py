"""Server-sent events: one more way out of the rooms, for clients without WebSockets."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from random import randint
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.types import Send

from ..domain.close_codes import CloseCode
from ..domain.errors import unavailable
from ..domain.users import Identity
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.outbox import Outbox
from ..services.rooms.participants import Participants
from ..services.rooms.rate_limit import TokenBucket
from ..services.rooms.rooms import Order, Rooms
from .middleware import Headers, Reply

BUFFER_BYTES: Final = 16 * 1024
"""Events that wait for one reader; beyond it newer tallies replace older ones."""

FULL_SECONDS: Final = 5.0
RETRY_MS: Final = (1000, 5000)

HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class StreamRooms(Rooms[Outbox, bytes]):
    def encode(self, kind: str, payload: bytes, order: Order | None) -> bytes:
        id_line = b"id: %d-%d\n" % order if order is not None else b""
        return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), id_line, payload)

    def update_all(self, room_id: str, connections: Iterable[Outbox], frame: bytes) -> None:
        for connection in connections:
            if connection.backlog is None and connection.wire.ready:
                connection.wire.write(frame)
            else:
                connection.update(room_id, frame)

    def dismissed(self, connection: Outbox) -> None:
        """A stream ends with its poll or deck."""
        if not connection.rooms and not connection.decks:
            connection.close(CloseCode.NORMAL)


class StreamWire:
    """Bytes for one reader, taken by the task of its request."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self._changed = asyncio.Event()
        self.listener: Outbox | None = None

    @property
    def ready(self) -> bool:
        return self._size < BUFFER_BYTES

    def write(self, frame: bytes) -> None:
        self._parts.append(frame)
        self._size += len(frame)
        self._changed.set()

    write_now = write

    def close(self, code: int) -> None:
        self._ended = True
        self._changed.set()

    def pause_reading(self) -> None:
        """Nothing is read from a stream's client."""

    resume_reading = pause_reading

    async def take(self, seconds: float) -> bytes | None:
        """What was written; empty after ``seconds`` without anything, and ``None`` once all is taken and it was closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return b""
        data, self._parts, self._size = b"".join(self._parts), [], 0
        if data:
            if not self._ended:
                self._changed.clear()
            if self.listener is not None:
                self.listener.drain()
            return data
        return None


class Streams:
    """``ping_interval``: seconds between two comments. ``max_sockets``: of this process, sockets included."""

    def __init__(
        self,
        participants: Participants,
        registry: ConnectionRegistry,
        *,
        ping_interval: float,
        max_sockets: int,
    ) -> None:
        self._participants = participants
        self._registry = registry
        self._ping_interval = ping_interval
        self._max_sockets = max_sockets
        self._rooms = StreamRooms()
        participants.opened(self._rooms)

    async def poll(self, request: Request, identity: Identity | None, poll_id: str) -> "Reply | Stream":
        """The events of a poll's room, beginning with ``POLL_STATE``. Raises ``NOT_FOUND``, and ``UNAVAILABLE`` if full."""

        async def join(reader: Outbox) -> tuple[Struct | None, ...]:
            return (await self._participants.join(reader, poll_id),)

        return await self._open(request, identity, join)

    async def deck(self, request: Request, identity: Identity | None, deck_id: str) -> "Reply | Stream":
        """The events of a deck's room, beginning with ``DECK_STATE`` and ``POLL_STATE``. Raises like ``poll``."""

        async def join(reader: Outbox) -> tuple[Struct | None, ...]:
            return await self._participants.join_deck(reader, deck_id) or ()

        return await self._open(request, identity, join)

    async def _open(
        self,
        request: Request,
        identity: Identity | None,
        join: Callable[[Outbox], Awaitable[tuple[Struct | None, ...]]],
    ) -> "Reply | Stream":
        if self._registry.draining or len(self._registry.connections) >= self._max_sockets:
            raise unavailable(FULL_SECONDS)
        wire = StreamWire()
        reader = wire.listener = Outbox(secrets.token_urlsafe(9), wire, self._rooms, TokenBucket(0))
        reader.client = request.client.host if request.client else None
        self._registry.add(reader)
        try:
            if identity is not None:
                self._registry.bind(reader, identity)
            for state in await join(reader):
                if state is not None:
                    reader.send(state)
        except BaseException:
            self._registry.remove(reader)
            raise
        if request.method == "HEAD":
            self._registry.remove(reader)
            return Reply(200, b"", HEADERS)
        return Stream(request, wire, reader, self._registry, self._ping_interval)


class Stream:
    """An answer that goes on until the client leaves or the server ends it."""

    def __init__(
        self,
        request: Request,
        wire: StreamWire,
        reader: Outbox,
        registry: ConnectionRegistry,
        ping_interval: float,
    ) -> None:
        self._request = request
        self._wire = wire
        self._reader = reader
        self._registry = registry
        self._ping_interval = ping_interval

    async def __call__(self, send: Send) -> None:
        connection = self._request.scope.get("state", {}).get("pollroom.connection")
        leaving = asyncio.create_task(self._until_gone())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            loop = asyncio.get_running_loop()
            data: bytes | None = b"retry: %d\n\n" % randint(*RETRY_MS)
            comment_at = loop.time() + self._ping_interval
            while data is not None:
                if not data or loop.time() >= comment_at:
                    data += b":\n\n"
                    comment_at = loop.time() + self._ping_interval
                await send({"type": "http.response.body", "body": data, "more_body": True})
                if connection is not None:
                    connection.renew()
                data = await self._wire.take(comment_at - loop.time())
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._registry.remove(self._reader)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _until_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._reader.close(CloseCode.NORMAL)
