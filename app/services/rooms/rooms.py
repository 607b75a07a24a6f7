"""Maps a poll to its connections, grouped by role. Rooms are updated before the first ``await``, so no update is lost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from ...domain.ballots import Tally
from ...domain.users import Identity
from .feed import Publication
from .rate_limit import TokenBucket

MAX_ROOMS: Final = 100
"""Rooms of one connection."""


class Role(IntEnum):
    """What a connection is to the poll of a room; decides who sees counts."""

    STRANGER = 0
    VOTER = 1
    OWNER = 2


class Connection(Protocol):
    """A connection of any transport. ``rooms`` maps a poll id to the role; ``in_flight`` counts unanswered ballots.

    ``client``: the address that it comes from, none if unknown.
    """

    client: str | None
    identity: Identity | None
    rooms: dict[str, Role]
    closed: bool
    in_flight: int
    rate_limit: TokenBucket

    @property
    def home(self) -> "Rooms[Any, Any]":
        """The rooms of its transport."""

    def send(self, message: Struct) -> None:
        """Never blocks. The backlog is bounded: a client that does not read is disconnected."""

    def answer(self, frame: Any) -> None:
        """As ``send``, with an encoded message."""

    def change(self, poll_id: str, frame: Any) -> None:
        """Send a changed poll; a newer change replaces it while it waits."""

    def update(self, poll_id: str, frame: Any) -> None:
        """Send a tally; a newer one replaces it while it waits."""

    def forget(self, poll_id: str) -> None:
        """Drop waiting changes and updates of this poll."""

    def close(self, code: int) -> None:
        """Close with a code of the contract, after everything that was sent before."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


Order = tuple[int, int]
"""``(epoch, seq)`` of a tally."""

_encode: Final = msgspec.json.Encoder().encode

C = TypeVar("C", bound=Connection)
Frame = TypeVar("Frame")


class Rooms(ABC, Generic[C, Frame]):
    """The rooms of one transport, which supplies ``encode``.

    ``on_viewers_changed`` is called with a poll whose number of connections changed, ``on_rights_changed`` with a poll of
    which a connection may see more.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Role, set[C]]] = {}
        self.on_viewers_changed: Callable[[str], None] = lambda _: None
        self.on_rights_changed: Callable[[str], None] = lambda _: None

    @abstractmethod
    def encode(self, kind: str, payload: bytes, order: Order | None) -> Frame:
        """The transport's frame for a message of type ``kind`` whose JSON is ``payload``. ``order``: of its tally, if any."""

    def frame(self, message: Struct) -> Frame:
        """The frame of a message to one connection."""
        tally: Tally | None = getattr(message, "tally", None)
        order = (tally.epoch, tally.seq) if tally is not None else None
        return self.encode(str(message.__struct_config__.tag), _encode(message), order)

    def deliver(self, publication: Publication) -> None:
        """Send a publication to the poll's room. It is encoded once per audience."""
        poll_id, kind = publication.poll_id, publication.kind
        room = self._rooms.get(poll_id)
        if room is None:
            return
        frames: dict[bool, Frame] = {}
        for role, connections in list(room.items()):
            if not connections:
                continue
            counts = publication.may_see_counts(owner=role is Role.OWNER, voted=role is not Role.STRANGER)
            frame = frames.get(counts)
            if frame is None:
                frame = frames[counts] = self.encode(kind, publication.encoded(counts), publication.order)
            if kind == "POLL_UPDATE":
                self.update_all(poll_id, connections, frame)
            elif kind == "POLL_CHANGED":
                for connection in connections:
                    connection.change(poll_id, frame)
            else:
                for connection in list(connections):
                    self.leave(connection, poll_id)
                    connection.answer(frame)

    def update_all(self, poll_id: str, connections: Iterable[C], frame: Frame) -> None:
        for connection in connections:
            connection.update(poll_id, frame)

    def join(self, connection: C, poll_id: str, role: Role) -> None:
        """Add a connection to a room, or change its role there."""
        room = self._rooms.setdefault(poll_id, {role: set() for role in Role})
        before = connection.rooms.get(poll_id)
        if before is not None:
            room[before].discard(connection)
        connection.rooms[poll_id] = role
        room[role].add(connection)
        if before is None:
            self.on_viewers_changed(poll_id)

    def leave(self, connection: C, poll_id: str) -> None:
        role = connection.rooms.pop(poll_id, None)
        if role is None:
            return
        connection.forget(poll_id)
        room = self._rooms[poll_id]
        room[role].discard(connection)
        if not any(room.values()):
            del self._rooms[poll_id]
        self.on_viewers_changed(poll_id)

    def leave_all(self, connection: C) -> None:
        for poll_id in list(connection.rooms):
            self.leave(connection, poll_id)

    def has_voted(self, connection: C, poll_id: str) -> None:
        """Its vote was accepted: from the next tick on it sees what voters see."""
        if connection.rooms.get(poll_id) is Role.STRANGER:
            self.join(connection, poll_id, Role.VOTER)
            self.on_rights_changed(poll_id)

    def viewers(self, poll_id: str) -> int:
        room = self._rooms.get(poll_id)
        return sum(map(len, room.values())) if room else 0

    def users_without_vote(self, poll_id: str) -> list[str]:
        """Users in the room who are not known to have voted."""
        strangers = self._rooms.get(poll_id, {}).get(Role.STRANGER, ())
        return list(
            {connection.identity.user.id for connection in strangers if connection.identity is not None}
        )

    def mark_voted(self, poll_id: str, voter_ids: set[str]) -> None:
        """These users have voted, and may see more from now on."""
        room = self._rooms.get(poll_id)
        for connection in list(room[Role.STRANGER]) if room else ():
            if connection.identity is not None and connection.identity.user.id in voter_ids:
                self.join(connection, poll_id, Role.VOTER)
