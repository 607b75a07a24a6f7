"""The sink of the feeds for raw WebSockets. A frame is made once for an audience and written to many."""

from app.ports import Update
from app.services import rooms
from app.services.rooms import Role
from app.websocket.member import Member
from app.websocket.messages import text_frame


class Rooms(rooms.Rooms[Member]):
    def deliver(self, update: Update) -> None:
        poll_id = update.poll_id
        room = self._rooms.get(poll_id)
        if room is None:
            return
        frames: dict[bool, bytes] = {}
        for role, members in list(room.items()):
            if not members:
                continue
            counts = update.sees(owner=role is Role.OWNER, voted=role is not Role.STRANGER)
            frame = frames.get(counts)
            if frame is None:
                frame = frames[counts] = text_frame(update.encoded(counts))
            match update.kind:
                case "POLL_UPDATE":
                    for member in members:
                        wire = member.wire
                        if member.backlog is None and wire.ready:
                            wire.write_now(frame)
                        else:
                            member.update(poll_id, frame)
                case "POLL_CHANGED":
                    for member in members:
                        member.change(poll_id, frame)
                case "POLL_DELETED":
                    for member in list(members):
                        self.leave(member, poll_id)
                        member.answer(frame)
