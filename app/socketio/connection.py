"""One client: who it is, what it may say, and how it is let go."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from ..domain.close_codes import CloseCode
from ..domain.users import Identity
from ..services.rooms.rate_limit import TokenBucket
from ..services.rooms.room import Role
from ..services.rooms.rooms import Rooms
from . import codec as packets
from .packet_queue import PacketQueue

GOODBYE_SECONDS: Final = 2.0


class SocketIOConnection:
    """``socket``: the library's. ``over``: seconds to wait where the message being handled is one too many, else 0.

    ``turn`` is held while a message is handled, ``reading`` is set while messages are taken. ``abort`` drops what
    carries the connection, where that is a WebSocket; ``forsake`` ends it for the library.
    """

    def __init__(
        self,
        socket: Any,
        home: Rooms[Any, Any],
        rate_limit: TokenBucket,
        abort: Callable[[], None] | None,
        client: str | None,
    ) -> None:
        self.client = client
        self._socket = socket
        self.outbox: PacketQueue = socket.queue
        self.home = home
        self.rate_limit = rate_limit
        self.abort = abort
        self.forsake: Callable[[], None] = lambda: None
        self.over = 0.0
        self.turn = asyncio.Lock()
        self.reading = asyncio.Event()
        self.reading.set()
        self.identity: Identity | None = None
        self.rooms: dict[str, Role] = {}
        self.decks: set[str] = set()
        self.connected = False
        self.closed = False
        self.in_flight = 0

    def send(self, message: Struct) -> None:
        """As an event."""
        if not self.closed:
            self.outbox.put_nowait(packets.event_of(message))

    def reply(self, asked: packets.Asked, message: Struct) -> bool:
        """To the event's callback (then true), or as an event if it has none."""
        if asked.ack is None:
            self.send(message)
        elif not self.closed:
            self.outbox.put_nowait(packets.acknowledgement(asked.ack, message))
        return asked.ack is not None

    def answer(self, frame: Any) -> None:
        self.outbox.put_nowait(frame)

    def change(self, room_id: str, frame: Any, outdated: Iterable[str | None] = ()) -> None:
        self.outbox.change(room_id, frame, outdated)

    def update(self, room_id: str, frame: Any) -> None:
        self.outbox.update(room_id, frame)

    def forget(self, room_id: str) -> None:
        self.outbox.forget(room_id)

    def keep_change(self, room_id: str) -> None:
        self.outbox.keep_change(room_id)

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    def close(self, code: int) -> None:
        """Clients come back by themselves unless the token does not hold. By force after 2 s."""
        if self.closed:
            return
        self.closed = True
        self.reading.set()
        if code == CloseCode.TOO_SLOW:
            self.outbox.clear()
        if code == CloseCode.TOKEN_INVALID:
            self.outbox.put_nowait(packets.disconnection())
        if self._socket.upgraded:
            self.outbox.put_nowait(None)  # the engine's writer closes the WebSocket once it finds the end
        elif self.outbox.empty():
            self.polled()
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._by_force)

    def polled(self) -> None:
        """A client that is let go asks for more: by now it has the rest, which it would not read together with this."""
        self.outbox.put_nowait(packets.close())

    def _by_force(self) -> None:
        if self.abort is not None:
            self.abort()
        self.forsake()
