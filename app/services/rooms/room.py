"""Who is in a room, by role: in the room of a poll, and in the room of a deck, which is in its current poll's room as a whole."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from msgspec import Struct

from ...domain.users import Identity
from .rate_limit import TokenBucket

if TYPE_CHECKING:
    from .rooms import Rooms


class Role(IntEnum):
    """What a connection is to the poll of a room; decides who sees counts."""

    STRANGER = 0
    VOTER = 1
    OWNER = 2


class Connection(Protocol):
    """A connection of any transport. ``rooms`` maps the id of a joined poll to the role; ``decks``: ids of joined decks.

    ``in_flight`` counts unanswered ballots. ``client``: the address that it comes from, none if unknown.
    """

    client: str | None
    identity: Identity | None
    rooms: dict[str, Role]
    decks: set[str]
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

    def change(self, room_id: str, frame: Any, outdated: Iterable[str | None] = ()) -> None:
        """Send a changed poll or deck; a newer change replaces it while it waits.

        ``outdated``: polls of which nothing may go out that waits already.
        """

    def update(self, room_id: str, frame: Any) -> None:
        """Send a tally; a newer one replaces it while it waits."""

    def forget(self, room_id: str) -> None:
        """Drop waiting changes and updates of this poll or deck."""

    def keep_change(self, room_id: str) -> None:
        """A change that waits goes out before later answers."""

    def close(self, code: int) -> None:
        """Close with a code of the contract, after everything that was sent before."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


C = TypeVar("C", bound=Connection)


class Room(Generic[C]):
    def __init__(self) -> None:
        self.members: dict[Role, set[C]] = {role: set() for role in Role}

    def __len__(self) -> int:
        return sum(map(len, self.members.values()))

    def put(self, connection: C, role: Role) -> None:
        """Add a connection, or change its role."""
        self.remove(connection)
        self.members[role].add(connection)

    def remove(self, connection: C) -> None:
        for members in self.members.values():
            members.discard(connection)

    def users_without_vote(self) -> set[str]:
        """Users who are not known to have voted."""
        return {
            connection.identity.user.id
            for connection in self.members[Role.STRANGER]
            if connection.identity is not None
        }

    def mark_voted(self, voter_ids: Collection[str]) -> list[C]:
        """These users have voted. Returns the connections that gained a right."""
        if not voter_ids:
            return []
        found = [
            connection
            for connection in self.members[Role.STRANGER]
            if connection.identity is not None and connection.identity.user.id in voter_ids
        ]
        for connection in found:
            self.put(connection, Role.VOTER)
        return found


class DeckRoom(Room[C]):
    """Listens to the feed of one poll at a time. Moving to another poll touches no connection.

    ``joined``: members that are in the poll's own room as well, by ``JOIN_POLL``. Their role there counts.
    ``left``: the poll that it listened to last, if it listens to none until it is told of the next one.
    """

    def __init__(self, deck_id: str, poll_id: str | None) -> None:
        super().__init__()
        self.deck_id = deck_id
        self.poll_id = poll_id
        self.left: str | None = None
        self.joined: set[C] = set()

    def remove(self, connection: C) -> None:
        super().remove(connection)
        self.joined.discard(connection)

    def attach(self, poll_id: str | None, room: Room[C] | None) -> None:
        """Listen to this poll, of which nobody but the owner has voted yet. ``room``: the poll's own room, if any."""
        self.poll_id = poll_id
        self.left = None
        self.members[Role.STRANGER] |= self.members[Role.VOTER]
        self.members[Role.VOTER] = set()
        self.joined = set()
        for there in room.members.values() if room is not None else ():
            for here in self.members.values():
                self.joined |= here & there

    def only_here(self) -> Iterator[tuple[Role, Collection[C]]]:
        """Members that are not in the poll's own room, by role."""
        for role, members in self.members.items():
            yield role, members - self.joined if self.joined else members

    def everybody(self, room: Room[C] | None) -> Iterator[tuple[Role, Collection[C]]]:
        """All members by role. ``room``: the poll's own room, if any."""
        yield from self.only_here()
        there: Mapping[Role, set[C]] = room.members if room is not None and self.joined else {}
        for role, members in there.items():
            yield role, members & self.joined
