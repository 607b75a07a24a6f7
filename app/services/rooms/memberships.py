"""Which connections are in which rooms of polls and decks. Changed before the first ``await``, so no update is lost."""

from collections.abc import Callable, Collection, Iterator
from typing import Final, Generic

from .room import C, DeckRoom, Role, Room

MAX_ROOMS: Final = 100
"""Rooms of one connection. A deck and its current poll are one."""


class Memberships(Generic[C]):
    """``on_viewers_changed`` is called with a poll whose number of connections changed, ``on_rights_changed`` with a poll of
    which a connection may see more, ``on_deck_viewers_changed`` with a deck.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, Room[C]] = {}
        self._decks: dict[str, DeckRoom[C]] = {}
        self._listening: dict[str, list[DeckRoom[C]]] = {}
        self.on_viewers_changed: Callable[[str], None] = lambda _: None
        self.on_rights_changed: Callable[[str], None] = lambda _: None
        self.on_deck_viewers_changed: Callable[[str], None] = lambda _: None

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

    def detach_deck(self, deck_id: str) -> None:
        """The deck's room leaves its poll's room; ``change_deck`` follows soon."""
        if (deck := self._decks.get(deck_id)) is not None:
            left = deck.poll_id
            self._attach(deck, None)
            deck.left = left

    def deck_viewers(self, deck_id: str) -> int:
        deck = self._decks.get(deck_id)
        return len(deck) if deck is not None else 0

    def users_in_deck(self, deck_id: str) -> set[str]:
        """Users in a deck's room but its owner."""
        deck = self._decks.get(deck_id)
        strangers = (deck.members[Role.STRANGER] | deck.members[Role.VOTER]) if deck is not None else ()
        return {connection.identity.user.id for connection in strangers if connection.identity is not None}

    def _audiences(self, poll_id: str) -> Iterator[tuple[Role, Collection[C]]]:
        """Everybody in a poll's room once, by role."""
        if (room := self._rooms.get(poll_id)) is not None:
            yield from room.members.items()
        for deck in self._listening.get(poll_id, ()):
            yield from deck.only_here()

    def _decks_of(self, connection: C, poll_id: str) -> list[DeckRoom[C]]:
        """The connection's decks that show this poll."""
        return [deck for deck in self._listening.get(poll_id, ()) if deck.deck_id in connection.decks]

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
