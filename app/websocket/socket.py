"""One WebSocket connection."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..domain.values import rfc3339
from ..ports.clock import Clock
from ..services.rooms.messages import ClientMessage, Reconnect, Welcome
from ..services.rooms.outbox import Outbox, Wire
from ..services.rooms.rate_limit import TokenBucket
from .codec import payload_of
from .rooms import WebSocketRooms

MAX_MESSAGE_BYTES: Final = 4096


class Limits(Struct, frozen=True):
    """``message_rate``: messages per second, bursts of twice that; 0 for no limit. The others in seconds."""

    message_rate: float
    ping_interval: float
    min_delay: float = 0.5
    max_delay: float = 30.0


class Socket(Outbox):
    """``inbox``: messages that wait for their turn; ``worker``: the task that dispatches them, while there are any."""

    __slots__ = ("_handle", "inbox", "worker")

    def __init__(
        self,
        wire: Wire,
        rooms: WebSocketRooms,
        handle: "Callable[[Socket, bytes], None]",
        limits: Limits,
        clock: Clock,
        client: str | None,
    ) -> None:
        """``handle`` is called with each whole text message."""
        super().__init__(secrets.token_urlsafe(9), wire, rooms, TokenBucket(limits.message_rate))
        self._handle = handle
        self.client = client
        self.inbox: deque[ClientMessage] = deque()
        self.worker: asyncio.Task[None] | None = None
        delays = Reconnect(limits.min_delay, limits.max_delay)
        now = rfc3339(clock.now())
        self.send(Welcome(now, self.id, MAX_MESSAGE_BYTES, limits.ping_interval, delays))

    def on_message(self, data: bytes) -> None:
        """Called by the wire."""
        self._handle(self, data)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.cancel()


class AsgiWire:
    """The wire on servers without our protocol class: ``await send`` in a task, with a bounded buffer."""

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
