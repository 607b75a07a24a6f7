"""Decks over HTTP."""

from typing import Final

import msgspec
from starlette.requests import Request

from ...domain.ballots import Snapshot, Tally, YourVote
from ...domain.decks import DeckEdit, DeckView, Move, NewDeck
from ...domain.polls import PollView
from ...domain.values import Camel
from ...services.polls.decks import Decks
from ..middleware import Bearer, Reply, no_content, reply
from ..request import body, page, path_deck_id, poll_key

_NEW: Final = msgspec.json.Decoder(NewDeck)
_EDIT: Final = msgspec.json.Decoder(DeckEdit)
_MOVE: Final = msgspec.json.Decoder(Move)


class OneDeck(Camel):
    deck: DeckView


class DeckPage(Camel):
    """``next_cursor`` is null at the end."""

    items: list[DeckView]
    next_cursor: str | None


class DeckAndPoll(Camel):
    deck: DeckView
    poll: PollView | None
    tally: Tally | None


class DeckAsSeen(Camel):
    deck: DeckView
    poll: PollView | None
    tally: Tally | None
    your_vote: YourVote | None

    @classmethod
    def of(cls, deck: DeckView, seen: Snapshot | None) -> "DeckAsSeen":
        if seen is None:
            return cls(deck, None, None, None)
        return cls(deck, seen.poll, seen.tally, seen.your_vote)


class DeckController:
    def __init__(self, decks: Decks, bearer: Bearer) -> None:
        self._decks = decks
        self._bearer = bearer

    async def create(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        key = poll_key(request)
        deck, created = await self._decks.create(identity, await body(request, _NEW), key)
        return reply(201 if created else 200, OneDeck(deck))

    async def mine(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        return reply(200, DeckPage(*await self._decks.mine(identity, *page(request))))

    async def look(self, request: Request) -> Reply:
        return reply(
            200, OneDeck(await self._decks.look(self._bearer.optional(request), path_deck_id(request)))
        )

    async def edit(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        edit = await body(request, _EDIT)
        return reply(200, OneDeck(await self._decks.edit(identity, path_deck_id(request), edit)))

    async def delete(self, request: Request) -> Reply:
        await self._decks.delete(self._bearer.required(request), path_deck_id(request))
        return no_content()

    async def move(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        move = await body(request, _MOVE)
        deck, seen = await self._decks.move(identity, path_deck_id(request), move)
        return reply(200, DeckAndPoll(deck, seen.poll if seen else None, seen.tally if seen else None))

    async def end(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        return reply(200, OneDeck(await self._decks.end(identity, path_deck_id(request))))
