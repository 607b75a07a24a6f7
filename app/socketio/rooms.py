"""The sink of the feeds for Socket.IO. A packet is made once for an audience."""

from engineio import packet as engine

from ..ports.rooms import Update
from ..services.rooms import rooms
from ..services.rooms.rooms import Role
from . import codec as packets
from .member import Member


class Rooms(rooms.Rooms[Member]):
    def deliver(self, update: Update) -> None:
        poll_id = update.poll_id
        room = self._rooms.get(poll_id)
        if room is None:
            return
        made: dict[bool, engine.Packet] = {}
        for role, members in list(room.items()):
            if not members:
                continue
            counts = update.sees(owner=role is Role.OWNER, voted=role is not Role.STRANGER)
            item = made.get(counts)
            if item is None:
                item = made[counts] = packets.event(update.kind, update.encoded(counts))
            match update.kind:
                case "POLL_UPDATE":
                    for member in members:
                        member.outbox.update(poll_id, item)
                case "POLL_CHANGED":
                    for member in members:
                        member.outbox.change(poll_id, item)
                case "POLL_DELETED":
                    for member in list(members):
                        self.leave(member, poll_id)
                        member.outbox.put_nowait(item)
