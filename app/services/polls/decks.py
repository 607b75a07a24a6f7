"""What owners do with decks, and what everybody reads of them."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from ...domain.ballots import Snapshot
from ...domain.cursors import Cursors
from ...domain.decks import Deck, DeckEdit, DeckPoll, DeckView, Move, NewDeck, check_poll_ids, clean_title
from ...domain.errors import DuplicateKey, Fields, PollroomError, invalid, none_found, unavailable
from ...domain.poll_rules import new_code
from ...domain.polls import stored_status
from ...domain.users import Identity
from ...domain.values import is_id, new_id
from ...ports.clock import Clock
from ...ports.database import Database, Queries
from ...ports.ledger import Ledger
from ...repositories import decks as model
from .deck_moves import DeckMoves
from .poll_reader import PollReader

KEY_LIFE_MS: Final = 24 * 60 * 60 * 1000
CODE_TRIES: Final = 10
CHUNK: Final = 200


class Decks:
    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        reader: PollReader,
        moves: DeckMoves,
        cursors: Cursors,
        most: int,
    ) -> None:
        """``most``: decks of one user."""
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._reader = reader
        self._moves = moves
        self._cursors = cursors
        self._most = most

    async def create(self, identity: Identity, new: NewDeck, key: str | None) -> tuple[DeckView, bool]:
        """The deck, and whether it was made now: see ``Polls.create``."""
        if identity.user.guest:
            raise PollroomError("FORBIDDEN", "Guests cannot create decks.")
        owner_id = identity.user.id
        if key is not None and (known := await self._made_with(owner_id, key)):
            return await self._view(known, owner_id), False
        fields = Fields()
        title = fields.take(lambda: clean_title(new.title), "")
        poll_ids = fields.take(lambda: check_poll_ids(new.poll_ids or []), list[str]())
        fields.done()
        if await model.has_as_many(self._database, owner_id, self._most):
            raise PollroomError("FORBIDDEN", f"A user may have {self._most} decks.")
        now = self._clock.now()
        for _ in range(CODE_TRIES):
            deck = Deck(new_id(), new_code(), owner_id, title, 1, None, now, None, None, None, False, False)
            try:
                async with self._database.transaction() as q:
                    if await model.code_taken(q, deck.code):
                        continue
                    await model.insert(q, deck, key)
                    await self._place(q, deck, poll_ids)
                break
            except DuplicateKey:
                if key is not None and (known := await self._made_with(owner_id, key)):
                    return await self._view(known, owner_id), False
        else:
            raise unavailable()
        await self._moves.hints.publish(deck.id, dict.fromkeys(poll_ids, deck.id))
        return await self._view(await self._moves.find(deck.id), owner_id), True

    async def mine(
        self, identity: Identity, limit: int, cursor: str | None
    ) -> tuple[list[DeckView], str | None]:
        """``limit`` decks of this user, newest first, and the cursor of the next page, none at the end."""
        owner_id = identity.user.id
        before = self._cursors.unsign("decks", owner_id, cursor)
        page = await model.page(self._database, owner_id, before, limit + 1)
        known = await self._polls([poll_id for deck in page[:limit] for poll_id in deck.poll_ids])
        views = [_view(deck, known, owner=True) for deck in page[:limit]]
        following = self._cursors.sign("decks", owner_id, page[limit - 1].id) if len(page) > limit else None
        return views, following

    async def look(self, identity: Identity | None, deck_id: str) -> DeckView:
        return await self._view(await self._find(deck_id), identity.user.id if identity else None)

    async def join(self, identity: Identity | None, deck_id: str) -> tuple[DeckView, Snapshot | None]:
        """The deck and its current poll as this reader may see them."""
        return await self._seen(await self._find(deck_id), identity)

    async def _seen(self, deck: Deck, identity: Identity | None) -> tuple[DeckView, Snapshot | None]:
        user_id = identity.user.id if identity else None
        return await self._view(deck, user_id), await self._current(deck, user_id)

    async def edit(self, identity: Identity, deck_id: str, edit: DeckEdit) -> DeckView:
        fields = Fields()
        title = UNSET if edit.title is UNSET else fields.take(lambda: clean_title(str(edit.title)), "")
        poll_ids = edit.poll_ids
        if poll_ids is not UNSET:
            wanted = poll_ids
            poll_ids = fields.take(lambda: check_poll_ids(wanted), list[str]())
        fields.done()
        await self._owned(identity, deck_id)
        moved: dict[str, str | None] = {}
        async with self._database.transaction() as q:
            deck = await model.lock(q, deck_id)
            if deck is None:
                raise PollroomError("NOT_FOUND")
            if poll_ids is not UNSET:
                if deck.ended_at:
                    raise PollroomError("DECK_ENDED")
                await self._check(q, deck, poll_ids)
                if deck.current_id in deck.poll_ids and deck.current_id not in poll_ids:
                    raise invalid("pollIds", "must name the current poll")
                if poll_ids != deck.poll_ids:
                    await self._place(q, deck, poll_ids)
                    await model.rearranged(q, deck.id, deck.current_id)
                    moved = {**dict.fromkeys(deck.poll_ids, None), **dict.fromkeys(poll_ids, deck.id)}
            if title is not UNSET and title != deck.title:
                await model.rename(q, deck.id, title)
        await self._moves.hints.publish(deck_id, moved)
        return await self._view(await self._moves.find(deck_id), identity.user.id)

    async def delete(self, identity: Identity, deck_id: str) -> None:
        await self._owned(identity, deck_id)
        async with self._database.transaction() as q:
            deck = await model.lock(q, deck_id)
            if deck is None:
                return
            await model.delete(q, deck_id)
        await self._moves.hints.publish(deck_id, dict.fromkeys(deck.poll_ids))

    async def move(self, identity: Identity, deck_id: str, move: Move) -> tuple[DeckView, Snapshot | None]:
        deck = await self._moves.move(await self._owned(identity, deck_id), move)
        return await self._seen(deck, identity)

    async def end(self, identity: Identity, deck_id: str) -> DeckView:
        deck = await self._moves.end(await self._owned(identity, deck_id))
        return await self._view(deck, identity.user.id)

    async def _owned(self, identity: Identity, deck_id: str) -> Deck:
        deck = await self._find(deck_id)
        if deck.owner_id != identity.user.id:
            raise PollroomError("FORBIDDEN", "Only its owner may change a deck.")
        return deck

    async def _find(self, deck_id: str) -> Deck:
        if not is_id(deck_id):
            raise PollroomError("NOT_FOUND")
        return await self._moves.find(deck_id)

    async def _made_with(self, owner_id: str, key: str) -> Deck | None:
        deck = await model.find_by_key(self._database, owner_id, key)
        if deck is not None and self._clock.now() - deck.created_at >= KEY_LIFE_MS:
            await model.forget_key(self._database, deck.id)
            return None
        return deck

    async def _check(self, q: Queries, deck: Deck, poll_ids: Sequence[str]) -> None:
        """``NOT_FOUND`` for a poll of another owner, ``POLL_IN_DECK`` for one of another deck."""
        if not all(map(is_id, poll_ids)):
            raise PollroomError("NOT_FOUND")
        found = await model.owners_of_polls(q, poll_ids)
        if any(found.get(poll_id, ("", None))[0] != deck.owner_id for poll_id in poll_ids):
            raise PollroomError("NOT_FOUND")
        if any(found[poll_id][1] not in (None, deck.id) for poll_id in poll_ids):
            raise PollroomError("POLL_IN_DECK")

    async def _place(self, q: Queries, deck: Deck, poll_ids: Sequence[str]) -> None:
        await self._check(q, deck, poll_ids)
        if not await model.place(q, deck, poll_ids):
            raise PollroomError("POLL_IN_DECK")

    async def _current(self, deck: Deck, user_id: str | None) -> Snapshot | None:
        if deck.current_id is None:
            return None
        with none_found():
            reading = await self._reader.read(deck.current_id, user_id)
            return await self._reader.with_answers(self._reader.snapshot(reading, user_id), user_id)
        return None

    async def _view(self, deck: Deck, user_id: str | None) -> DeckView:
        return _view(deck, await self._polls(deck.poll_ids), owner=user_id == deck.owner_id)

    async def _polls(self, poll_ids: Sequence[str]) -> dict[str, DeckPoll]:
        """Question and status of these polls as they are now."""
        now, known = self._clock.now(), {}
        for start in range(0, len(poll_ids), CHUNK):
            chunk = poll_ids[start : start + CHUNK]
            states = await self._ledger.peek(chunk)
            for poll in await model.questions(self._database, chunk):
                state = states.get(poll.id)
                status = state.status if state is not None else stored_status(poll, now)
                known[poll.id] = DeckPoll(poll.id, poll.question, status)
        return known


def _view(deck: Deck, known: dict[str, DeckPoll], *, owner: bool) -> DeckView:
    shown = [place.poll_id for place in deck.places if owner or place.shown]
    return DeckView.of(deck, [known[poll_id] for poll_id in shown if poll_id in known])
