"""Delivers what happens to polls and decks to the connections of one transport. It is encoded once per audience."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from ...domain.ballots import Tally
from .feed import Publication
from .memberships import Memberships
from .room import C, Role

Order = tuple[int, int]
"""``(epoch, seq)`` of a tally."""

_encode: Final = msgspec.json.Encoder().encode

Frame = TypeVar("Frame")


class Rooms(Memberships[C], ABC, Generic[C, Frame]):
    """The rooms of one transport, which supplies ``encode``."""

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

    def update_all(self, room_id: str, connections: Iterable[C], frame: Frame) -> None:
        for connection in connections:
            connection.update(room_id, frame)

    def dismissed(self, connection: C) -> None:
        """A connection has left a room because its poll or deck was deleted."""

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
