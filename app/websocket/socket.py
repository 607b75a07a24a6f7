"""One connection: what comes in, in order and within its rate_limit, and when it ends."""

import asyncio
import secrets
from collections import deque
from typing import Final

from msgspec import Struct, UnsetType
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..domain.close_codes import CloseCode
from ..domain.errors import PollroomError
from ..domain.values import rfc3339
from ..ports.clock import Clock
from ..services.rooms.messages import ErrorMessage, Refused
from ..services.rooms.rate_limit import TokenBucket
from .codec import AnyMessage, Reconnect, Welcome, parse, payload_of
from .events import Events
from .outbox import Outbox, Wire

MAX_MESSAGE_BYTES: Final = 4096
MAX_INBOX: Final = 64
"""Messages of one socket that wait their turn; beyond that it is not read."""


class Limits(Struct, frozen=True):
    """``message_rate``: messages a second, bursts of twice that; 0 for no limit. The others in seconds."""

    message_rate: float
    ping_interval: float
    min_delay: float = 0.5
    max_delay: float = 30.0


class Socket(Outbox):
    __slots__ = ("_events", "_inbox", "_limits", "_rate_limit", "_worker")

    def __init__(self, wire: Wire, events: Events, limits: Limits, clock: Clock) -> None:
        super().__init__(secrets.token_urlsafe(9), wire, events.rooms)
        self._events = events
        self._limits = limits
        self._inbox: deque[AnyMessage | str] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._rate_limit = TokenBucket(limits.message_rate)
        delays = Reconnect(limits.min_delay, limits.max_delay)
        now = rfc3339(clock.now())
        self.send(Welcome(now, self.id, MAX_MESSAGE_BYTES, limits.ping_interval, delays))

    def on_message(self, data: bytes) -> None:
        """A whole text message."""
        if self.closed:
            return
        try:
            message = parse(data)
        except Refused as refused:
            if not self._limits.message_rate or self._within_rate(refused.id):
                self.send(ErrorMessage.of(refused.error, refused.id))
            return
        if self._limits.message_rate and not self._within_rate(message.id):
            return
        if self._worker is not None or not self._events.dispatch_now(self, message):
            self.enqueue(message)

    def enqueue(self, message: AnyMessage | str) -> None:
        """Handle a message (or a token from the header) after those that wait already."""
        self._inbox.append(message)
        if len(self._inbox) == MAX_INBOX:
            self.wire.pause_reading()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()

    async def _work(self) -> None:
        try:
            while self._inbox and not self.closed:
                message = self._inbox.popleft()
                if len(self._inbox) == MAX_INBOX // 2:
                    self.wire.resume_reading()
                if isinstance(message, str):
                    await self._events.authenticate(self, message)
                else:
                    await self._events.dispatch(self, message)
        finally:
            self._worker = None

    def _within_rate(self, id: str | UnsetType) -> bool:
        wait = self._rate_limit.take()
        if wait:
            self.send(ErrorMessage.of(PollroomError("RATE_LIMITED", retry_after=wait), id))
            if self._rate_limit.ignored:
                self.close(CloseCode.TOO_MANY_MESSAGES)
        return not wait


class AsgiWire:
    """The wire on servers that have none of ours: ``await send`` in a task, with as much waiting as a transport holds."""

    LARGEST = 16 * 1024

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._frames: deque[bytes | int] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self.listener: Outbox | None = None

    @property
    def ready(self) -> bool:
        return self._bytes < self.LARGEST

    def write(self, frame: bytes) -> None:
        self._bytes += len(frame)
        self._put(frame)

    write_now = write

    def close(self, code: int) -> None:
        self._put(code)

    def pause_reading(self) -> None:
        """Reading goes message by message here: nothing to pause beyond the server's own queue."""

    def resume_reading(self) -> None:
        pass

    def _put(self, item: bytes | int) -> None:
        self._frames.append(item)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._frames:
                item = self._frames.popleft()
                if isinstance(item, int):
                    await self._websocket.close(item)
                    return
                await self._websocket.send_text(payload_of(item).decode())
                self._bytes -= len(item)
                if self.listener is not None and self.ready:
                    self.listener.drain()
        except (WebSocketDisconnect, RuntimeError):
            self._frames.clear()  # the peer is gone; its end comes by the read loop
        finally:
            self._writer = None
