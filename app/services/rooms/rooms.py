"""Poll id -> connections, by what each is to the poll. A room changes before any await."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from msgspec import Struct

from ...domain.users import Identity
from ...ports.rooms import Update

LARGEST_NUMBER_OF_ROOMS: Final = 100


class Role(IntEnum):
    """What somebody in a room is to the poll: decides who sees counts."""

    STRANGER = 0
    VOTER = 1
    OWNER = 2


class Connection(Protocol):
    """One connection, whatever carries it. ``rooms``: poll id -> role there. ``in_flight``: ballots not yet answered."""

    identity: Identity | None
    rooms: dict[str, Role]
    closed: bool
    in_flight: int

    @property
    def home(self) -> "Rooms[Any]":
        """The rooms of its transport."""

    def send(self, message: Struct) -> None:
        """Never blocks; bounded: who does not read is closed."""

    def forget(self, poll_id: str) -> None:
        """Drop what waits to be sent of this poll."""

    def close(self, code: int) -> None:
        """With a close code of the contract; what was sent before still goes out."""

    def pause_reading(self) -> None: ...


M = TypeVar("M", bound=Connection)


class Rooms(ABC, Generic[M]):
    """A transport's sink of the feeds.

    ``on_viewers`` is told the poll whose number of sockets changed, ``on_right`` the poll of which one may see more.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Role, set[M]]] = {}
        self.on_viewers: Callable[[str], None] = lambda _: None
        self.on_right: Callable[[str], None] = lambda _: None

    @abstractmethod
    def deliver(self, update: Update) -> None: ...

    def join(self, member: M, poll_id: str, role: Role) -> None:
        """Into the room, or in it into another role."""
        room = self._rooms.setdefault(poll_id, {role: set() for role in Role})
        before = member.rooms.get(poll_id)
        if before is not None:
            room[before].discard(member)
        member.rooms[poll_id] = role
        room[role].add(member)
        if before is None:
            self.on_viewers(poll_id)

    def leave(self, member: M, poll_id: str) -> None:
        role = member.rooms.pop(poll_id, None)
        if role is None:
            return
        member.forget(poll_id)
        room = self._rooms[poll_id]
        room[role].discard(member)
        if not any(room.values()):
            del self._rooms[poll_id]
        self.on_viewers(poll_id)

    def leave_all(self, member: M) -> None:
        for poll_id in list(member.rooms):
            self.leave(member, poll_id)

    def has_voted(self, member: M, poll_id: str) -> None:
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
