"""The sending half of a WebSocket or a stream: a bounded outbox that skips to the newest update."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from ...domain.close_codes import CloseCode
from ...domain.users import Identity
from .rate_limit import TokenBucket
from .room import Role
from .rooms import Rooms

MAX_BACKLOG_BYTES: Final = 256 * 1024
"""Bytes of answers that may wait for one socket, beyond what its transport holds. Above it the socket is too slow (4408)."""


class Wire(Protocol):
    """The bytes of one connection."""

    @property
    def ready(self) -> bool:
        """False while the transport holds as much as it may."""

    def write(self, frame: bytes) -> None:
        """Write together with whatever else is written to this connection in this pass of the event loop."""

    def write_now(self, frame: bytes) -> None:
        """Write without the event loop if nothing waits: cheaper for one frame to each of many connections."""

    def close(self, code: int) -> None:
        """Start closing. The connection is aborted if the peer does not answer within 2 s."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Outbox:
    """Answers are never dropped; updates are replaced by newer ones.

    ``rooms`` and ``decks``: as in ``Connection``. ``backlog``: waiting answers, None while the wire takes them. ``direct``: the
    file descriptor, kept by the wire while nothing waits for this connection, else -1.
    """

    __slots__ = (
        "_backlog_bytes",
        "_changes",
        "_updates",
        "backlog",
        "client",
        "closed",
        "decks",
        "direct",
        "home",
        "id",
        "identity",
        "in_flight",
        "rate_limit",
        "rooms",
        "wire",
    )

    def __init__(
        self, connection_id: str, wire: Wire, home: Rooms[Any, Any], rate_limit: TokenBucket
    ) -> None:
        self.id = connection_id
        self.rate_limit = rate_limit
        self.home = home
        self.wire = wire
        self.client: str | None = None
        self.identity: Identity | None = None
        self.rooms: dict[str, Role] = {}
        self.decks: set[str] = set()
        self.closed = False
        self.direct = -1
        self.in_flight = 0
        self.backlog: deque[bytes] | None = None
        self._backlog_bytes = 0
        self._changes: dict[str, bytes] | None = None
        self._updates: dict[str, bytes] | None = None

    def send(self, message: msgspec.Struct) -> None:
        self.answer(self.home.frame(message))

    def answer(self, frame: bytes) -> None:
        if self.closed:
            return
        if self.backlog is None and self.wire.ready:
            self.wire.write(frame)
            return
        if self.backlog is None:
            self.backlog = deque()
        self.backlog.append(frame)
        self._backlog_bytes += len(frame)
        if self._backlog_bytes > MAX_BACKLOG_BYTES:
            self.close(CloseCode.TOO_SLOW)

    def update(self, room_id: str, frame: bytes) -> None:
        """Keep the newest tally that cannot be written now, in place of an older one."""
        if not self.closed:
            if self._updates is None:
                self._updates = {}
            self._updates[room_id] = frame

    def change(self, room_id: str, frame: bytes, outdated: Iterable[str | None] = ()) -> None:
        if self.backlog is None and self.wire.ready:
            self.wire.write(frame)
        elif not self.closed:
            for known in (room_id, *outdated):
                self.forget(known)
            if self._changes is None:
                self._changes = {}
            self._changes[room_id] = frame

    def pause_reading(self) -> None:
        self.wire.pause_reading()

    def resume_reading(self) -> None:
        self.wire.resume_reading()

    def forget(self, room_id: str | None) -> None:
        for waiting in (self._changes, self._updates):
            if waiting is not None and room_id is not None:
                waiting.pop(room_id, None)

    def keep_change(self, room_id: str) -> None:
        if self._changes and (frame := self._changes.pop(room_id, None)) is not None:
            self.answer(frame)

    def drain(self) -> None:
        """The transport accepts bytes again: write answers first, then the newest update of each poll."""
        wire = self.wire
        while self.backlog and wire.ready:
            frame = self.backlog.popleft()
            self._backlog_bytes -= len(frame)
            wire.write(frame)
        if not self.backlog:
            self.backlog = None
        for waiting in (self._changes, self._updates):
            while waiting and self.backlog is None and wire.ready:
                wire.write(waiting.pop(next(iter(waiting))))
        if not self._changes:
            self._changes = None
        if not self._updates:
            self._updates = None

    def close(self, code: int) -> None:
        if not self.closed:
            self.closed = True
            self.backlog = self._changes = self._updates = None
            self.wire.close(code)
