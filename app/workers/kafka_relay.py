"""The relay to Kafka at work: leases, turns of the partitions, back-off.

One relay reads all partitions, further ones stand by for its leases. A lease is a hint that saves work; what keeps it right
is the compare-and-set in ``services/relaying.py``.
"""

import asyncio
import time
from typing import Final

from ..domain.errors import PollroomError
from ..ports.clock import Clock
from ..ports.database import Database
from ..ports.ledger import TryAgain
from ..ports.messaging import Topic
from ..repositories.relay_offsets import KAFKA
from ..services.vote_log.kafka_relay import Relaying
from ..services.vote_log.recorder import StaleOffset
from ..utils import logger
from .leases import RENEW_SECONDS, give_back, take_free
from .retry import Resting, backoff, shown, wanted

IDLE_SECONDS: Final = 0.1
REMOVED_SECONDS: Final = 5.0
AT_ONCE: Final = 2

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
        self._resting = Resting()
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
            await give_back(self._database, KAFKA, self._owner)
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
            if partition not in self._turns and self._resting.until(partition) <= now:
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
            self._resting.worked(partition)
        except Exception as error:
            self._resting.failed(partition)
            self._note(error)
        finally:
            del self._turns[partition]

    async def _lease(self) -> None:
        now = self._clock.now()
        async with self._database.transaction() as q:
            mine = await take_free(q, KAFKA, self._owner, now)
        self._leased = frozenset(mine)
        self._resting.keep(self._leased)

    def _note(self, error: Exception) -> None:
        before, self.error = self.error, shown(error)
        expected = isinstance(error, PollroomError | TryAgain | StaleOffset)
        if self.error != before:  # each partition meets the same outage
            log.warning("ballots not relayed yet", error=self.error, exc_info=None if expected else error)
