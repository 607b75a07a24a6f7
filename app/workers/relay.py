"""The relay to Kafka at work: leases, turns of the partitions, back-off.

One relay reads all partitions, further ones stand by for its leases. A lease is a hint that saves work; what keeps it right
is the compare-and-set in ``services/relaying.py``.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from app.modules.vote import model
from app.modules.vote.readers import KAFKA
from app.ports import Busy, Clock, Database, Topic
from app.services.recording import StaleOffset
from app.services.relaying import Relaying
from app.utils import logger
from app.utils.errors import PollroomError
from app.workers.vote_worker import backoff, shown, wanted

LEASE_MS: Final = 10_000
RENEW_SECONDS: Final = LEASE_MS / 3 / 1000
IDLE_SECONDS: Final = 0.1
REMOVED_SECONDS: Final = 5.0
AT_ONCE: Final = 2
GIVE_BACK_SECONDS: Final = 2.0

log = logger.get(__name__)


class Relay:
    """``owner`` names this relay among all. ``error``: why nothing is sent, none while it is."""

    def __init__(
        self, database: Database, relaying: Relaying, topic: Topic, clock: Clock, owner: str
    ) -> None:
        self._database = database
        self._relaying = relaying
        self._topic = topic
        self._clock = clock
        self._owner = owner
        self._leased: frozenset[int] = frozenset()
        self._renew_at = 0.0
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[int, asyncio.Task[None]] = {}
        # Of the partitions that fail: how often in a row, and until when (monotonic) they rest.
        self._resting: dict[int, tuple[int, float]] = {}
        self.error: str | None = None

    async def run(self) -> None:
        """Until cancelled. An outage is waited for without end."""
        failures, registered = 0, False
        try:
            while wanted():
                try:
                    if not registered:
                        await self._relaying.register()
                        registered = True
                    await self._round()
                    failures = 0
                except Exception as error:
                    failures += 1
                    self._note(error)
                    await asyncio.sleep(backoff(failures))
        finally:
            for turn in self._turns.values():
                turn.cancel()
            await asyncio.gather(*self._turns.values(), return_exceptions=True)
            with suppress(Exception):
                async with asyncio.timeout(GIVE_BACK_SECONDS):
                    await model.give_back_leases(self._database, KAFKA, self._owner)
            await self._topic.close()

    async def _round(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            await self._lease()
            self._renew_at = now + RENEW_SECONDS
        due = await self._relaying.due(self._leased)
        if due is None:
            self.error = "the relay was removed: it begins anew when this process does"
            await asyncio.sleep(REMOVED_SECONDS)
            return
        for partition in due:
            if partition not in self._turns and self._resting.get(partition, (0, 0.0))[1] <= now:
                self._turns[partition] = asyncio.create_task(self._turn(partition))
        if self._turns:
            await asyncio.wait(
                self._turns.values(), timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        else:
            await asyncio.sleep(IDLE_SECONDS)
        if not self._resting:
            self.error = None

    async def _turn(self, partition: int) -> None:
        try:
            async with self._at_once:
                await self._relaying.step(partition)
            self._resting.pop(partition, None)
        except Exception as error:
            failures = self._resting.get(partition, (0, 0.0))[0] + 1
            self._resting[partition] = (failures, time.monotonic() + backoff(failures))
            self._note(error)
        finally:
            del self._turns[partition]

    async def _lease(self) -> None:
        now = self._clock.now()
        async with self._database.transaction() as q:
            await model.renew_leases(q, KAFKA, self._owner, now + LEASE_MS)
            mine = set()
            for offset in await model.offsets(q, KAFKA):
                free = offset.lease_owner is None or offset.lease_until is None or offset.lease_until <= now
                if offset.lease_owner == self._owner or (
                    free
                    and await model.take_lease(q, KAFKA, offset.partition, self._owner, now, now + LEASE_MS)
                ):
                    mine.add(offset.partition)
        self._leased = frozenset(mine)
        self._resting = {p: rest for p, rest in self._resting.items() if p in mine}

    def _note(self, error: Exception) -> None:
        before, self.error = self.error, shown(error)
        expected = isinstance(error, PollroomError | Busy | StaleOffset)
        if self.error != before:  # each partition meets the same outage
            log.warning("ballots not relayed yet", error=self.error, exc_info=None if expected else error)
