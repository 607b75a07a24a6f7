"""Poll id -> connections, by what each is to the poll. A room changes before any await."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from msgspec import Struct

from ...domain.users import Identity
from ...ports.rooms import Update

MAX_ROOMS: Final = 100


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

    ``on_viewers_changed``: called with the poll whose number of sockets changed. ``on_rights_changed``: called with the
    poll of which a socket may see more.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Role, set[M]]] = {}
        self.on_viewers_changed: Callable[[str], None] = lambda _: None
        self.on_rights_changed: Callable[[str], None] = lambda _: None

    @abstractmethod
    def deliver(self, update: Update) -> None: ...

    def join(self, connection: M, poll_id: str, role: Role) -> None:
        """Into the room, or in it into another role."""
        room = self._rooms.setdefault(poll_id, {role: set() for role in Role})
        before = connection.rooms.get(poll_id)
        if before is not None:
            room[before].discard(connection)
        connection.rooms[poll_id] = role
        room[role].add(connection)
        if before is None:
            self.on_viewers_changed(poll_id)

    def leave(self, connection: M, poll_id: str) -> None:
        role = connection.rooms.pop(poll_id, None)
        if role is None:
            return
        connection.forget(poll_id)
        room = self._rooms[poll_id]
        room[role].discard(connection)
        if not any(room.values()):
            del self._rooms[poll_id]
        self.on_viewers_changed(poll_id)

    def leave_all(self, connection: M) -> None:
        for poll_id in list(connection.rooms):
            self.leave(connection, poll_id)

    def has_voted(self, connection: M, poll_id: str) -> None:
        """A vote of this socket was accepted: from the next tick on it may see what voters see."""
        if connection.rooms.get(poll_id) is Role.STRANGER:
            self.join(connection, poll_id, Role.VOTER)
            self.on_rights_changed(poll_id)

    def viewers(self, poll_id: str) -> int:
        room = self._rooms.get(poll_id)
        return sum(map(len, room.values())) if room else 0

    def users_without_vote(self, poll_id: str) -> list[str]:
        strangers = self._rooms.get(poll_id, {}).get(Role.STRANGER, ())
        return list(
            {connection.identity.user.id for connection in strangers if connection.identity is not None}
        )

    def mark_voted(self, poll_id: str, voter_ids: set[str]) -> None:
        room = self._rooms.get(poll_id)
        for connection in list(room[Role.STRANGER]) if room else ():
            if connection.identity is not None and connection.identity.user.id in voter_ids:
                self.join(connection, poll_id, Role.VOTER)
