"""Forgets after ``RETENTION_DAYS``: voters of closed polls, deleted polls, guests, ended sessions, the audit log.

All in small steps with a pause between them, so that votes go on. Several workers may run it at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ...domain.errors import PollroomError
from ...ports.clock import Clock
from ...ports.database import Database, Queries
from ...ports.ledger import Ledger, PollStore, TryAgain
from ...repositories import ballots, commitments, polls
from ...repositories import retention as model
from ...utils import logger
from ..vote_log.recorder import READER

ROUND_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.02
POLLS: Final = 100
CHUNK: Final = 500

_log = logger.get(__name__)


class Retention:
    """``seconds``: how long after its close a poll's ballots keep their voters, and so on."""

    def __init__(
        self, database: Database, ledger: Ledger, store: PollStore, clock: Clock, seconds: float
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._ms = round(seconds * 1000)
        self._round_seconds = min(ROUND_SECONDS, max(0.5, seconds / 10))

    async def run(self) -> None:
        """Until cancelled. What fails is tried again with the next round."""
        while True:
            await asyncio.sleep(self._round_seconds)
            for step in (self._close, self._delete, self._guests, self._sessions, self._audit):
                try:
                    await step(self._clock.now() - self._ms)
                except Exception as error:
                    _log.warning("retention", step=step.__name__, error=repr(error)[:200])

    async def _close(self, before: int) -> None:
        for poll_id in await model.closed_polls(self._database, before, POLLS):
            try:
                if await self._anonymize(poll_id) and await self._unloaded(poll_id):
                    await model.mark_anonymized(self._database, poll_id, self._clock.now())
            except (PollroomError, TryAgain) as error:
                _log.warning("voters not forgotten yet", poll=poll_id, error=repr(error)[:200])

    async def _anonymize(self, poll_id: str) -> bool:
        """Whether all ballots have lost their voters."""
        while True:
            async with self._database.transaction() as q:
                rules = await polls.lock(q, poll_id)
                if rules is None:
                    return False
                if rules.verifiable and await commitments.find(q, poll_id) is None:
                    return False  # its ballots are still to be read
                # Nobody may be reading the ballots into the ledger: moved rows would count twice.
                lease = await self._ledger.lease(poll_id)
                try:
                    left = await model.anonymize_chunk(q, rules, CHUNK)
                except BaseException:
                    await self._ledger.release(lease)
                    raise
            await self._ledger.release(lease)
            if not left:
                return True
            await asyncio.sleep(PAUSE_SECONDS)

    async def _delete(self, before: int) -> None:
        for poll_id in await model.deleted_polls(self._database, before, POLLS):
            if not await self._unloaded(poll_id):
                continue
            while await self._step(lambda q: model.remove_ballots(q, poll_id, CHUNK)):  # noqa: B023 - called at once
                pass
            while await self._step(lambda q: commitments.remove_other_rows(q, poll_id)):  # noqa: B023 - called at once
                pass
            await self._step(lambda q: model.remove_poll(q, poll_id))  # noqa: B023 - called at once

    async def _guests(self, before: int) -> None:
        while await self._step(lambda q: model.remove_guests(q, before, CHUNK)) == CHUNK:
            pass

    async def _sessions(self, before: int) -> None:
        while await self._step(lambda q: model.remove_ended_sessions(q, before, CHUNK)) == CHUNK:
            pass

    async def _audit(self, before: int) -> None:
        while await self._step(lambda q: model.remove_audit(q, before, CHUNK)) == CHUNK:
            pass

    async def _step(self, act: Callable[[Queries], Awaitable[object]]) -> object:
        async with self._database.transaction() as q:
            done = await act(q)
        await asyncio.sleep(PAUSE_SECONDS)
        return done

    async def _unloaded(self, poll_id: str) -> bool:
        """Whether Redis does not hold the poll. False while it has log entries that SQL lacks."""
        partition = self._store.partition(poll_id)
        offset = await ballots.offset(self._database, READER, partition)
        if offset is None:
            return False
        await self._store.unload(poll_id, offset.generation, offset.last_id, 0)
        return not await self._ledger.peek([poll_id])
