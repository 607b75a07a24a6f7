"""A poll's rules and its state, always of the same version."""

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ...domain.ballots import CurrentVote, PollState, Snapshot, YourVote
from ...domain.errors import PollroomError, unavailable
from ...domain.polls import Address, PollView, Rules, view
from ...domain.values import is_id
from ...domain.visibility import may_see, tally
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import decks, polls
from .poll_loader import GIVE_UP_SECONDS, RETRY_SECONDS, PollLoader

T = TypeVar("T")

CACHED = 10_000
DECKS_CHUNK = 500
PATIENCE_SECONDS = 0.5
"""How long an edit between its commit and its installation is waited for before it counts as dead."""


class Reading(Struct, frozen=True):
    rules: Rules
    state: PollState
    vote: CurrentVote | None


class PollReader:
    def __init__(self, database: Database, ledger: Ledger, editor: PollLoader, address: Address) -> None:
        """``address``: where clients read the images of options."""
        self.address = address
        self._database = database
        self._ledger = ledger
        self._editor = editor
        self._rules: OrderedDict[str, Rules] = OrderedDict()
        self._codes: OrderedDict[str, str] = OrderedDict()
        self._deck_codes: OrderedDict[str, str] = OrderedDict()
        self._decks_missed = False
        self._reread_after = ""
        # Polls whose deck changed since the last reading began.
        self._hinted: set[str] = set()

    async def read(self, poll_id: str, voter_id: str | None = None) -> Reading:
        """``NOT_FOUND`` for what never was, was deleted, or is somebody else's draft."""
        if not is_id(poll_id):
            raise PollroomError("NOT_FOUND")
        began = time.monotonic()
        while True:
            state, vote = await self._ledger.read(poll_id, voter_id)
            if state.deleted or (state.draft and voter_id != state.owner_id):
                raise PollroomError("NOT_FOUND")
            rules = await self.rules(poll_id, state.version)
            if rules.version == state.version:
                return Reading(rules, state, vote)
            waited = time.monotonic() - began
            if waited > GIVE_UP_SECONDS:
                raise unavailable()
            await (self._editor.load(poll_id) if waited > PATIENCE_SECONDS else asyncio.sleep(RETRY_SECONDS))

    async def owned(self, poll_id: str, user_id: str) -> Reading:
        """``NOT_FOUND`` unless the user may know of the poll, ``FORBIDDEN`` unless it is theirs."""
        reading = await self.read(poll_id, user_id)
        if reading.rules.owner_id != user_id:
            raise PollroomError("FORBIDDEN", "Only its owner may change a poll.")
        return reading

    def view(self, rules: Rules, state: PollState) -> PollView:
        if (newest := self._rules.get(rules.id)) is not None and newest.deck_id != rules.deck_id:
            rules = replace(rules, deck_id=newest.deck_id)
        times = state.opens or None, state.closes or None
        return view(rules, state.status, *times, self.address, state.commitment)

    async def with_answers(self, snapshot: Snapshot, user_id: str | None) -> Snapshot:
        """For the owner, the correct options as well. They change without a new version, so they are read from SQL."""
        if snapshot.poll.owner_id == user_id:
            rules = await polls.find(self._database, snapshot.poll.id)
            snapshot.poll.correct_option_ids = rules.correct if rules else []
        return snapshot

    def snapshot(self, reading: Reading, voter_id: str | None) -> Snapshot:
        """The reading as this voter may see it."""
        rules, state, vote = reading.rules, reading.state, reading.vote
        voted = vote is not None and vote.accepted
        counts = may_see(rules, state, owner=voter_id == rules.owner_id, voted=voted)
        return Snapshot(self.view(rules, state), tally(rules, state, counts=counts), YourVote.of(vote))

    async def rules(self, poll_id: str, version: int) -> Rules:
        """The rules of this version, or newer ones where an edit is under way."""
        rules = self._rules.get(poll_id)
        if rules is not None and rules.version == version:
            self._rules.move_to_end(poll_id)
            return rules
        rules = await polls.find(self._database, poll_id)
        if rules is None:
            raise PollroomError("NOT_FOUND")
        self.remember(rules)
        return rules

    def remember(self, rules: Rules) -> None:
        _keep(self._rules, rules.id, rules)

    def set_decks(self, deck_of: Mapping[str, str | None]) -> None:
        """The decks of polls, which change without a new version."""
        self._hinted.update(deck_of)
        self._take_decks(deck_of)

    def _take_decks(self, deck_of: Mapping[str, str | None]) -> None:
        for poll_id, deck_id in deck_of.items():
            rules = self._rules.get(poll_id)
            if rules is not None and rules.deck_id != deck_id:
                self._rules[poll_id] = replace(rules, deck_id=deck_id)

    async def missed_decks(self) -> None:
        """Hints were lost: the decks of all polls known here are to be read again."""
        self._decks_missed = True

    async def reread_decks(self) -> None:
        """Read the decks of some of the polls known here, of all of them after ``missed_decks``. ``UNAVAILABLE``."""
        if self._decks_missed:
            known = list(self._rules)
        else:
            ids = sorted(self._rules)
            start = bisect_right(ids, self._reread_after)
            known = ids[start : start + DECKS_CHUNK]
            self._reread_after = known[-1] if len(known) == DECKS_CHUNK else ""
        self._decks_missed = False
        self._hinted.clear()
        try:
            for start in range(0, len(known), DECKS_CHUNK):
                chunk = known[start : start + DECKS_CHUNK]
                self._hinted.clear()
                found = await decks.decks_of_polls(self._database, chunk)
                self._take_decks({id: found.get(id) for id in chunk if id not in self._hinted})
        except PollroomError:
            self._decks_missed = True
            raise

    async def deck_id(self, code: str) -> str:
        """The deck of a join code."""
        code = code.upper()
        found = self._deck_codes.get(code)
        if found is None and len(code) <= 26 and code.isascii():
            found = await decks.id_of_code(self._database, code)
        if found is None:
            raise PollroomError("NOT_FOUND")
        _keep(self._deck_codes, code, found)
        return found

    async def poll_id(self, code: str, user_id: str | None) -> str:
        """The poll of a join code. A draft of another user and a code of nothing take the same way: one query."""
        code = code.upper()
        known = self._codes.get(code)
        if known is not None:
            return known
        found = None
        if len(code) <= 26 and code.isascii():
            found = await polls.id_of_code(self._database, code, user_id)
        if found is None:
            raise PollroomError("NOT_FOUND")
        poll_id, draft = found
        if not draft:
            _keep(self._codes, code, poll_id)
        return poll_id


def _keep(cache: OrderedDict[str, T], key: str, value: T) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > CACHED:
        cache.popitem(last=False)
