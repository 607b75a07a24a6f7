"""Maps polls and decks to their connections. Rooms are updated before the first ``await``, so no update is lost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from ...domain.ballots import Tally
from .feed import Publication
from .room import C, DeckRoom, Role, Room

MAX_ROOMS: Final = 100
"""Rooms of one connection. A deck and its current poll are one."""

Order = tuple[int, int]
"""``(epoch, seq)`` of a tally."""

_encode: Final = msgspec.json.Encoder().encode

Frame = TypeVar("Frame")


class Rooms(ABC, Generic[C, Frame]):
    """The rooms of one transport, which supplies ``encode``.

    ``on_viewers_changed`` is called with a poll whose number of connections changed, ``on_rights_changed`` with a poll of
    which a connection may see more, ``on_deck_viewers_changed`` with a deck.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, Room[C]] = {}
        self._decks: dict[str, DeckRoom[C]] = {}
        self._listening: dict[str, list[DeckRoom[C]]] = {}
        self.on_viewers_changed: Callable[[str], None] = lambda _: None
        self.on_rights_changed: Callable[[str], None] = lambda _: None
        self.on_deck_viewers_changed: Callable[[str], None] = lambda _: None

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
        poll_id, kind = publication.room_id, publication.kind
        if kind == "POLL_DELETED":
            self._delete(publication)
            return
        for members, frame in self._framed(publication, self._audiences(poll_id)):
            if kind == "POLL_UPDATE":
                self.update_all(poll_id, members, frame)
            else:
                for connection in members:
                    connection.change(poll_id, frame)

    def _delete(self, publication: Publication) -> None:
        poll_id = publication.room_id
        audiences = [(role, list(members)) for role, members in self._audiences(poll_id)]
        for deck in list(self._listening.get(poll_id, ())):
            self._attach(deck, None)
        for members, frame in self._framed(publication, audiences):
            for connection in members:
                self.leave(connection, poll_id)
                connection.forget(poll_id)
                connection.answer(frame)
                self.dismissed(connection)

    def _framed(
        self, publication: Publication, audiences: Iterable[tuple[Role, Collection[C]]]
    ) -> Iterator[tuple[Collection[C], Frame]]:
        frames: dict[bool, Frame] = {}
        for role, members in audiences:
            if not members:
                continue
            counts = publication.may_see_counts(owner=role is Role.OWNER, voted=role is not Role.STRANGER)
            if counts not in frames:
                frames[counts] = self.encode(publication.kind, publication.encoded(counts), publication.order)
            yield members, frames[counts]

    def update_all(self, room_id: str, connections: Iterable[C], frame: Frame) -> None:
        for connection in connections:
            connection.update(room_id, frame)

    def dismissed(self, connection: C) -> None:
        """A connection has left a room because its poll or deck was deleted."""

    def _audiences(self, poll_id: str) -> Iterator[tuple[Role, Collection[C]]]:
        """Everybody in a poll's room once, by role."""
        if (room := self._rooms.get(poll_id)) is not None:
            yield from room.members.items()
        for deck in self._listening.get(poll_id, ()):
            yield from deck.only_here()

    def _decks_of(self, connection: C, poll_id: str) -> list[DeckRoom[C]]:
        """The connection's decks that show this poll."""
        return [deck for deck in self._listening.get(poll_id, ()) if deck.deck_id in connection.decks]

    def join(self, connection: C, poll_id: str, role: Role) -> None:
        """Add a connection to a poll's room, or change its role there."""
        new = poll_id not in connection.rooms
        connection.rooms[poll_id] = role
        self._rooms.setdefault(poll_id, Room()).put(connection, role)
        for deck in self._decks_of(connection, poll_id):
            deck.put(connection, role)
            deck.joined.add(connection)
        if new:
            self.on_viewers_changed(poll_id)

    def leave(self, connection: C, poll_id: str) -> None:
        role = connection.rooms.pop(poll_id, None)
        if role is None:
            return
        room = self._rooms[poll_id]
        room.remove(connection)
        if not room:
            del self._rooms[poll_id]
        decks = self._decks_of(connection, poll_id)
        for deck in decks:
            deck.put(connection, role)
        if not decks:
            connection.forget(poll_id)
        self.on_viewers_changed(poll_id)

    def leave_all(self, connection: C) -> None:
        for poll_id in list(connection.rooms):
            self.leave(connection, poll_id)
        for deck_id in list(connection.decks):
            self.leave_deck(connection, deck_id)

    def has_voted(self, connection: C, poll_id: str) -> None:
        """Its vote was accepted: from the next tick on it sees what voters see."""
        gained = connection.rooms.get(poll_id) is Role.STRANGER
        if gained:
            self.join(connection, poll_id, Role.VOTER)
        for deck in self._decks_of(connection, poll_id):
            if connection in deck.members[Role.STRANGER]:
                deck.put(connection, Role.VOTER)
                gained = True
        if gained:
            self.on_rights_changed(poll_id)

    def viewers(self, poll_id: str) -> int:
        room, decks = self._rooms.get(poll_id), self._listening.get(poll_id, ())
        return (len(room) if room is not None else 0) + sum(len(deck) - len(deck.joined) for deck in decks)

    def users_without_vote(self, poll_id: str) -> set[str]:
        """Users in the room who are not known to have voted."""
        rooms: list[Room[C]] = [*self._listening.get(poll_id, ())]
        if (room := self._rooms.get(poll_id)) is not None:
            rooms.append(room)
        return set[str]().union(*(room.users_without_vote() for room in rooms))

    def mark_voted(self, poll_id: str, voter_ids: Collection[str]) -> None:
        """These users have voted, and may see more from now on."""
        if (room := self._rooms.get(poll_id)) is not None:
            for connection in room.mark_voted(voter_ids):
                self.join(connection, poll_id, Role.VOTER)
        for deck in self._listening.get(poll_id, ()):
            deck.mark_voted(voter_ids)

    def occupied(self, connection: C) -> int:
        """How many of its ``MAX_ROOMS`` a connection uses."""
        both = sum(self._decks[deck_id].poll_id in connection.rooms for deck_id in connection.decks)
        return len(connection.rooms) + len(connection.decks) - both

    def shows(self, connection: C, poll_id: str) -> bool:
        """Whether the connection is in the poll's room, by itself or by a deck."""
        return poll_id in connection.rooms or bool(self._decks_of(connection, poll_id))

    def join_deck(self, connection: C, deck_id: str, poll_id: str | None, role: Role) -> None:
        """Add a connection to a deck's room, or change its role there. ``poll_id``: the current poll."""
        deck = self._decks.get(deck_id)
        if deck is None:
            deck = self._decks[deck_id] = DeckRoom(deck_id, None)
            self._attach(deck, poll_id)
        new = deck_id not in connection.decks
        connection.decks.add(deck_id)
        deck.put(connection, role)
        if deck.poll_id in connection.rooms:
            deck.joined.add(connection)
        if new:
            self._deck_viewers_changed(deck)

    def leave_deck(self, connection: C, deck_id: str) -> None:
        if deck_id not in connection.decks:
            return
        connection.decks.discard(deck_id)
        deck = self._decks[deck_id]
        deck.remove(connection)
        connection.forget(deck_id)
        if deck.poll_id is not None and not self.shows(connection, deck.poll_id):
            connection.forget(deck.poll_id)
        self._deck_viewers_changed(deck)
        if not deck:
            self._attach(deck, None)
            del self._decks[deck_id]

    def change_deck(self, publication: Publication, poll_id: str | None, voter_ids: Collection[str]) -> None:
        """Tell a deck's room of a change, after which it listens to ``poll_id``.

        ``voter_ids``: users who are known to have voted there. Call ``on_viewers_changed`` of both polls afterwards.
        """
        deck = self._decks.get(publication.room_id)
        if deck is None:
            return
        before = deck.poll_id or deck.left
        if poll_id != deck.poll_id:
            self._attach(deck, poll_id)
            deck.mark_voted(voter_ids)
        stays = self._everybody_joined(before) if before != poll_id else set[C]()
        for members, frame in self._framed(publication, deck.everybody(self._own_room(poll_id))):
            for connection in members:
                outdated = (poll_id,) if connection in stays else (poll_id, before)
                connection.change(deck.deck_id, frame, outdated)

    def detach_deck(self, deck_id: str) -> None:
        """The deck's room leaves its poll's room; ``change_deck`` follows soon."""
        if (deck := self._decks.get(deck_id)) is not None:
            left = deck.poll_id
            self._attach(deck, None)
            deck.left = left

    def update_deck(self, publication: Publication) -> None:
        if (deck := self._decks.get(publication.room_id)) is not None:
            for members, frame in self._framed(publication, deck.members.items()):
                self.update_all(deck.deck_id, members, frame)

    def delete_deck(self, publication: Publication) -> None:
        if (deck := self._decks.get(publication.room_id)) is not None:
            for members, frame in self._framed(publication, list(deck.members.items())):
                for connection in list(members):
                    self.leave_deck(connection, deck.deck_id)
                    connection.answer(frame)
                    self.dismissed(connection)

    def deck_viewers(self, deck_id: str) -> int:
        deck = self._decks.get(deck_id)
        return len(deck) if deck is not None else 0

    def users_in_deck(self, deck_id: str) -> set[str]:
        """Users in a deck's room but its owner."""
        deck = self._decks.get(deck_id)
        strangers = (deck.members[Role.STRANGER] | deck.members[Role.VOTER]) if deck is not None else ()
        return {connection.identity.user.id for connection in strangers if connection.identity is not None}

    def _attach(self, deck: DeckRoom[C], poll_id: str | None) -> None:
        if deck.poll_id is not None:
            listening = self._listening[deck.poll_id]
            listening.remove(deck)
            if not listening:
                del self._listening[deck.poll_id]
        deck.attach(poll_id, self._own_room(poll_id))
        if poll_id is not None:
            self._listening.setdefault(poll_id, []).append(deck)

    def _own_room(self, poll_id: str | None) -> Room[C] | None:
        return self._rooms.get(poll_id) if poll_id is not None else None

    def _everybody_joined(self, poll_id: str | None) -> set[C]:
        room = self._own_room(poll_id)
        return set[C]().union(*room.members.values()) if room is not None else set()

    def _deck_viewers_changed(self, deck: DeckRoom[C]) -> None:
        self.on_deck_viewers_changed(deck.deck_id)
        if deck.poll_id is not None:
            self.on_viewers_changed(deck.poll_id)
