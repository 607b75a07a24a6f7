"""Decks: several polls under one code, one of them current."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from .errors import invalid
from .polls import Status
from .text import clean_text
from .values import Camel, optional_rfc3339, rfc3339

MAX_POLLS: Final = 200


class Place(Struct, frozen=True):
    """A poll in a deck. ``shown``: it is or was the current one."""

    poll_id: str
    shown: bool


class Deck(Struct, frozen=True):
    """A row of ``decks`` with the places of its polls. Times in milliseconds.

    ``moving_since``: the row has moved from ``move_from`` to ``current_id``, and the polls have not yet been closed and
    opened as ``move_closes`` and ``move_opens`` say.
    """

    id: str
    code: str
    owner_id: str
    title: str
    version: int
    current_id: str | None
    created_at: int
    ended_at: int | None
    moving_since: int | None
    move_from: str | None
    move_closes: bool
    move_opens: bool
    places: tuple[Place, ...] = ()

    @property
    def poll_ids(self) -> list[str]:
        return [place.poll_id for place in self.places]

    @property
    def position(self) -> int | None:
        """Of the current poll, from 1."""
        ids = self.poll_ids
        return ids.index(self.current_id) + 1 if self.current_id in ids else None


class StoredPoll(Struct, frozen=True):
    """What ``polls`` of a deck needs of a poll's row."""

    id: str
    question: str
    draft: bool
    opens_at: int | None
    closes_at: int | None
    closed_at: int | None


class DeckPoll(Camel):
    id: str
    question: str
    status: Status


class DeckView(Camel):
    """``deck`` of the contract. ``polls``: over HTTP alone; for others than the owner those that are or were current."""

    id: str
    code: str
    owner_id: str
    title: str
    current_poll_id: str | None
    position: int | None
    count: int
    version: int
    created_at: str
    ended_at: str | None
    polls: list[DeckPoll] | UnsetType = UNSET

    @classmethod
    def of(cls, deck: Deck, polls: list[DeckPoll] | UnsetType = UNSET) -> "DeckView":
        position = deck.position
        return cls(
            deck.id,
            deck.code,
            deck.owner_id,
            deck.title,
            deck.current_id if position is not None else None,
            position,
            len(deck.places),
            deck.version,
            rfc3339(deck.created_at),
            optional_rfc3339(deck.ended_at),
            polls,
        )


PollIds = Annotated[list[str], Meta(max_length=MAX_POLLS)]


class NewDeck(Camel):
    """Body of ``POST /decks``. Null means the default."""

    title: str
    poll_ids: PollIds | None = None


class DeckEdit(Camel):
    """Body of ``PATCH /decks/{id}``: what is absent stays."""

    title: str | UnsetType = UNSET
    poll_ids: PollIds | UnsetType = UNSET


class Move(Camel):
    """Body of ``POST /decks/{id}/current``. ``pollId`` null shows nothing."""

    poll_id: str | None
    version: int | None = None
    open: bool | None = None
    close: bool | None = None


def clean_title(title: str) -> str:
    return clean_text("title", title, 1, 200)


def check_poll_ids(poll_ids: list[str]) -> list[str]:
    """``VALIDATION_FAILED`` for one that is named twice."""
    if len(set(poll_ids)) < len(poll_ids):
        raise invalid("pollIds", "must name every poll once")
    return poll_ids
