"""The sink of the feeds for Socket.IO. A packet is made once for an audience."""

from engineio import packet as engine

from ..ports.rooms import Update
from ..services.rooms import rooms
from ..services.rooms.rooms import Role
from . import codec as packets
from .connection import SocketIOConnection


class SocketIORooms(rooms.Rooms[SocketIOConnection]):
    def deliver(self, update: Update) -> None:
        poll_id = update.poll_id
        room = self._rooms.get(poll_id)
        if room is None:
            return
        made: dict[bool, engine.Packet] = {}
        for role, connections in list(room.items()):
            if not connections:
                continue
            counts = update.may_see_counts(owner=role is Role.OWNER, voted=role is not Role.STRANGER)
            item = made.get(counts)
            if item is None:
                item = made[counts] = packets.event(update.kind, update.encoded(counts))
            match update.kind:
                case "POLL_UPDATE":
                    for connection in connections:
                        connection.outbox.update(poll_id, item)
                case "POLL_CHANGED":
                    for connection in connections:
                        connection.outbox.change(poll_id, item)
                case "POLL_DELETED":
                    for connection in list(connections):
                        self.leave(connection, poll_id)
                        connection.outbox.put_nowait(item)
