"""What owners do with polls."""

import hashlib

from msgspec.structs import replace

from ...domain.ballots import PollState, Snapshot
from ...domain.commitments import Commitment
from ...domain.cursors import Cursors
from ...domain.errors import DuplicateKey, PollroomError, unavailable
from ...domain.poll_rules import compose, new_code, repeat, revise
from ...domain.polls import NewPoll, PollEdit, PollView, Rules, stored_status, view
from ...domain.users import Identity
from ...ports.clock import Clock
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import commitments, decks, users
from ...repositories import polls as model
from .deck_moves import DeckMoves
from .option_images import OptionImages, named
from .poll_loader import Change, PollLoader, open_now
from .poll_reader import PollReader, Reading

KEY_LIFE_MS = 24 * 60 * 60 * 1000
CODE_TRIES = 10


class Polls:
    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        editor: PollLoader,
        reader: PollReader,
        images: OptionImages,
        cursors: Cursors,
        moves: DeckMoves,
        most: int,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._editor = editor
        self._reader = reader
        self._images = images
        self._cursors = cursors
        self._moves = moves
        self._most = most

    async def create(self, identity: Identity, new: NewPoll, key: str | None) -> tuple[PollView, bool]:
        """The poll, and whether it was made now: with a ``key`` that was used within a day it is the one of then."""
        if identity.user.guest:
            raise PollroomError("FORBIDDEN", "Guests cannot create polls.")
        owner_id = identity.user.id
        if key is not None and (known := await self._made_with(owner_id, key)):
            return known, False
        rules = compose(new, owner_id, self._clock.now())
        if identity.own:
            await users.ensure_user(self._database, identity.user)
        return await self._insert(rules, key)

    async def again(
        self, identity: Identity, poll_id: str, draft: bool, key: str | None
    ) -> tuple[PollView, bool]:
        """Another round of a poll, and whether it was made now. A ``key`` belongs to the poll."""
        await self._reader.owned(poll_id, identity.user.id)
        if key is not None:
            # No key of a client begins like this.
            key = f"\x01{poll_id}\x01{hashlib.sha256(key.encode()).hexdigest()}"
            if known := await self._made_with(identity.user.id, key):
                return known, False
        rules = await model.find(self._database, poll_id)
        if rules is None:
            raise PollroomError("NOT_FOUND")
        made = await self._insert(repeat(rules, draft=draft, now=self._clock.now()), key, rules)
        if deck_id := made[0].deck_id:
            await self._moves.hints.publish(deck_id, {made[0].id: deck_id})
        return made

    async def _insert(
        self, rules: Rules, key: str | None, original: Rules | None = None
    ) -> tuple[PollView, bool]:
        """``original``: the poll that this one repeats; in a deck the new one stands after it."""
        if await model.has_as_many(self._database, rules.owner_id, self._most):
            raise PollroomError("FORBIDDEN", f"A user may have {self._most} polls.")
        for _ in range(CODE_TRIES):
            try:
                async with self._database.transaction() as queries:
                    if await decks.id_of_code(queries, rules.code):
                        raise DuplicateKey("a deck has this code")
                    await model.insert(queries, rules, key)
                    if original is not None and original.deck_id is not None:
                        await decks.insert_after(queries, original.deck_id, original.id, rules.id)
                break
            except DuplicateKey:
                # Another request with the same key was faster, or the code is taken.
                if key is not None and (known := await self._made_with(rules.owner_id, key)):
                    return known, False
                rules = replace(rules, code=new_code())
        else:
            raise unavailable()
        rules, state = await self._editor.edit(rules.id, None)
        self._reader.remember(rules)
        return self._owners(rules, state), True

    def _owners(self, rules: Rules, state: PollState) -> PollView:
        """The poll as its owner sees it. ``rules`` come from SQL just now."""
        seen = self._reader.view(rules, state)
        seen.correct_option_ids = rules.correct
        return seen

    async def _made_with(self, owner_id: str, key: str) -> PollView | None:
        rules = await model.find_by_key(self._database, owner_id, key)
        if rules is None:
            return None
        try:
            if self._clock.now() - rules.created_at < KEY_LIFE_MS:
                reading = await self._reader.read(rules.id, owner_id)
                return self._owners(replace(reading.rules, options=rules.options), reading.state)
        except PollroomError as error:
            if error.code != "NOT_FOUND":
                raise
        await model.forget_key(self._database, rules.id)
        return None

    async def mine(
        self, identity: Identity, limit: int, cursor: str | None
    ) -> tuple[list[PollView], str | None]:
        """``limit`` polls of this user, newest first, and the cursor of the next page, none at the end."""
        owner_id = identity.user.id
        before = self._cursors.unsign("polls", owner_id, cursor)
        page = await model.page(self._database, owner_id, before, limit + 1)
        states = await self._ledger.peek([rules.id for rules in page[:limit]])
        resting = [rules.id for rules in page[:limit] if rules.verifiable and rules.id not in states]
        built = await commitments.built(self._database, resting)
        views = [self._listed(rules, states.get(rules.id), built.get(rules.id)) for rules in page[:limit]]
        following = self._cursors.sign("polls", owner_id, page[limit - 1].id) if len(page) > limit else None
        return [listed for listed in views if listed is not None], following

    def _listed(
        self, rules: Rules, state: PollState | None, commitment: Commitment | None
    ) -> PollView | None:
        """None for a poll whose deletion SQL has not seen yet. What the ledger does not hold, SQL has whole."""
        if state is not None:
            return None if state.deleted else self._owners(rules, state)
        status = stored_status(rules, self._clock.now())
        seen = view(rules, status, rules.opens_at, rules.closes_at, self._reader.address, commitment)
        seen.correct_option_ids = rules.correct
        return seen

    async def edit(self, identity: Identity, poll_id: str, edit: PollEdit) -> PollView:
        before: set[str] = set()

        def change(rules: Rules, state: PollState) -> Rules:
            nonlocal before
            before = named(rules)
            return revise(
                rules,
                edit,
                now=state.now,
                opened=state.opened,
                closed=bool(state.closed),
                accepted=state.accepted,
            )

        rules, state = await self._change(identity, poll_id, change)
        await self._images.discard(before - named(rules), rules.owner_id)
        return self._owners(rules, state)

    async def open(self, identity: Identity, poll_id: str) -> Snapshot:
        return await self._changed(identity, poll_id, open_now)

    async def pause(self, identity: Identity, poll_id: str, paused: bool) -> Snapshot:
        """Stop accepting ballots, or go on. Returns when no later ballot can be accepted."""

        def change(rules: Rules, state: PollState) -> Rules:
            _check_opened(state)
            if state.closed:
                raise PollroomError("POLL_CLOSED")
            return (
                rules if rules.paused == paused else replace(rules, paused=paused, version=rules.version + 1)
            )

        return await self._changed(identity, poll_id, change)

    async def close(self, identity: Identity, poll_id: str) -> Snapshot:
        await self._reader.owned(poll_id, identity.user.id)
        await self._ledger.close(poll_id)
        reading = await self._reader.read(poll_id, identity.user.id)
        snapshot = self._reader.snapshot(reading, identity.user.id)
        return await self._reader.with_answers(snapshot, identity.user.id)

    async def reveal(self, identity: Identity, poll_id: str) -> Snapshot:
        """Close the poll if it is open, and show everybody which options are correct, for good."""

        def change(rules: Rules, state: PollState) -> Rules:
            if rules.revealed_at:
                return rules
            if not rules.correct:
                raise PollroomError("NOTHING_TO_REVEAL")
            return replace(rules, revealed_at=state.now, version=rules.version + 1)

        reading = await self._reader.owned(poll_id, identity.user.id)
        _check_opened(reading.state)
        rules = await model.find(self._database, poll_id)
        if rules is not None and not rules.correct:
            raise PollroomError("NOTHING_TO_REVEAL")
        await self._ledger.close(poll_id)
        return await self._changed(identity, poll_id, change)

    async def delete(self, identity: Identity, poll_id: str) -> None:
        await self._reader.owned(poll_id, identity.user.id)
        await self._ledger.delete(poll_id)
        await self._moves.poll_deleted(poll_id)
        await self._images.discard_all(poll_id)

    async def _changed(self, identity: Identity, poll_id: str, change: Change) -> Snapshot:
        rules, state = await self._change(identity, poll_id, change)
        snapshot = self._reader.snapshot(Reading(rules, state, None), identity.user.id)
        snapshot.poll.correct_option_ids = rules.correct
        return snapshot

    async def _change(self, identity: Identity, poll_id: str, change: Change) -> tuple[Rules, PollState]:
        await self._reader.owned(poll_id, identity.user.id)
        rules, state = await self._editor.edit(poll_id, change)
        self._reader.remember(rules)
        return rules, state


def _check_opened(state: PollState) -> None:
    """A poll that closed was open."""
    if not state.opened:
        raise PollroomError("POLL_NOT_OPEN")
