"""The rooms of WebSockets. A frame is encoded once per audience and written to every socket in it."""

import os
from collections.abc import Iterable

from msgspec import Struct

from ..services.rooms.outbox import Outbox
from ..services.rooms.rooms import Order, Rooms
from .codec import encode, text_frame


class WebSocketRooms(Rooms[Outbox, bytes]):
    def encode(self, kind: str, payload: bytes, order: Order | None) -> bytes:
        return text_frame(payload)

    def frame(self, message: Struct) -> bytes:
        """The way of every acknowledgement: a WebSocket needs neither kind nor order."""
        return text_frame(encode(message))

    def update_all(self, room_id: str, connections: Iterable[Outbox], frame: bytes) -> None:
        """Reads only the file descriptor of a socket for which nothing waits.

        With thousands of sockets each further object that is read comes from memory, not from the processor's cache: the
        transport alone costs 1 µs.
        """
        write, size = os.write, len(frame)
        for connection in connections:
            if connection.direct >= 0:
                try:
                    sent = write(connection.direct, frame)
                except OSError:
                    sent = 0
                if sent < size:
                    connection.wire.write_now(frame[sent:])
            elif connection.backlog is None and connection.wire.ready:
                connection.wire.write_now(frame)
            else:
                connection.update(room_id, frame)
