"""Poll id -> sockets. A frame is made once for an audience and written to many; a room changes before any await."""

from collections.abc import Callable

from app.ports import Update
from app.websocket.member import Member, Role
from app.websocket.messages import text_frame

LARGEST_NUMBER_OF_ROOMS = 100


class Rooms:
    """The sink of the feeds for raw WebSockets.

    ``on_viewers`` is told the poll whose number of sockets changed, ``on_right`` the poll of which one may see more.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Role, set[Member]]] = {}
        self.on_viewers: Callable[[str], None] = lambda _: None
        self.on_right: Callable[[str], None] = lambda _: None

    def join(self, member: Member, poll_id: str, role: Role) -> None:
        """Into the room, or in it into another role."""
        room = self._rooms.setdefault(poll_id, {role: set() for role in Role})
        before = member.rooms.get(poll_id)
        if before is not None:
            room[before].discard(member)
        member.rooms[poll_id] = role
        room[role].add(member)
        if before is None:
            self.on_viewers(poll_id)

    def leave(self, member: Member, poll_id: str) -> None:
        role = member.rooms.pop(poll_id, None)
        if role is None:
            return
        member.forget(poll_id)
        room = self._rooms[poll_id]
        room[role].discard(member)
        if not any(room.values()):
            del self._rooms[poll_id]
        self.on_viewers(poll_id)

    def leave_all(self, member: Member) -> None:
        for poll_id in list(member.rooms):
            self.leave(member, poll_id)

    def has_voted(self, member: Member, poll_id: str) -> None:
        """A vote of this socket was accepted: from the next tick on it may see what voters see."""
        if member.rooms.get(poll_id) is Role.STRANGER:
            self.join(member, poll_id, Role.VOTER)
            self.on_right(poll_id)

    def viewers(self, poll_id: str) -> int:
        room = self._rooms.get(poll_id)
        return sum(map(len, room.values())) if room else 0

    def unsure(self, poll_id: str) -> list[str]:
        strangers = self._rooms.get(poll_id, {}).get(Role.STRANGER, ())
        return list({member.identity.user.id for member in strangers if member.identity is not None})

    def voted(self, poll_id: str, voter_ids: set[str]) -> None:
        room = self._rooms.get(poll_id)
        for member in list(room[Role.STRANGER]) if room else ():
            if member.identity is not None and member.identity.user.id in voter_ids:
                self.join(member, poll_id, Role.VOTER)

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
