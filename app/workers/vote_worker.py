"""The vote log into SQL: read from the offset, one transaction a batch, and only then trim.

Several workers share the partitions by short leases. A lease is a hint that saves work; what keeps it right when two
read the same partition is the compare-and-set of the offset in ``services/recording.py``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from ..domain.ballots import LogEntry
from ..domain.errors import PollroomError, unavailable
from ..domain.log_position import entry_order
from ..ports.clock import Clock
from ..ports.database import Database, Queries
from ..ports.ledger import TryAgain
from ..ports.vote_log import VoteLog
from ..repositories import ballots as model
from ..repositories.polls import due_to_close
from ..repositories.users import remove_expired
from ..services.vote_log.recorder import READER, Recorder, StaleOffset
from ..services.vote_log.trimming import LAG_LIMIT, trim_bound
from ..utils import logger
from .leases import RENEW_SECONDS, give_back, take_share
from .retry import Resting, backoff, shown, wanted

MAX_ROWS: Final = 1000
MAX_BYTES: Final = 1 << 20
BLOCK_MS: Final = 500
# Transactions at a time: the rest of the database's connections are for requests.
AT_ONCE: Final = 4
SWEEP_SECONDS: Final = 1.0
SWEEP_POLLS: Final = 100
CLOSE_SECONDS: Final = 5.0
# Expired for so long that no access token of the session can be alive: its revocation must be found until then.
EXPIRED_MS: Final = 86_400_000

log = logger.get(__name__)


class VoteWorker:
    """``owner`` names this worker among all that share the log. ``restore`` rewrites a partition from the ledger where SQL is
    older than the log. ``lag_limit``: entries that the log is kept for a relay behind SQL.

    ``pending``: entries read and not stored yet. ``error``: why storing fails, none while it does not.
    """

    def __init__(
        self,
        database: Database,
        votes: VoteLog,
        recorder: Recorder,
        clock: Clock,
        partitions: int,
        owner: str,
        restore: Callable[[int], Awaitable[bool]],
        lag_limit: int = LAG_LIMIT,
    ) -> None:
        self._database = database
        self._votes = votes
        self._recorder = recorder
        self._clock = clock
        self._partitions = partitions
        self._owner = owner
        self._restore = restore
        self._lag_limit = lag_limit
        # Partitions whose rows were found whole since this worker leased them.
        self._whole: set[int] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        # Of the leased partitions: generation and last id stored.
        self._offsets: dict[int, tuple[int, str]] = {}
        self._renew_at = 0.0
        self._resting = Resting()
        self._unstored: dict[int, int] = {}
        self.error: str | None = None

    @property
    def pending(self) -> int:
        return sum(self._unstored.values())

    @property
    def leased(self) -> frozenset[int]:
        return frozenset(self._offsets)

    async def run(self) -> None:
        """Until cancelled. An outage is retried without end; a partition that fails does not hold up the others."""
        failures = 0
        try:
            while wanted():
                try:
                    await self._round()
                    failures = 0
                except Exception as error:
                    failures += 1
                    self._note(error)
                    await asyncio.sleep(backoff(failures))
        finally:
            await give_back(self._database, READER, self._owner)

    async def drain(self) -> None:
        """Store everything that is in the log now, in all partitions, whoever leases them.

        ``UNAVAILABLE`` where that cannot be done. May run beside ``run``.
        """
        for partition in range(self._partitions):
            await self._restore(partition)
        targets: dict[tuple[int, int], str] = {}
        stuck: dict[int, tuple[int, str]] | None = None
        while True:
            behind: dict[int, tuple[int, str]] = {}
            for offset in await model.offsets(self._database, READER):
                log_of = (offset.partition, offset.generation)
                if log_of not in targets:
                    targets[log_of] = await self._votes.last_id(*log_of)
                if entry_order(offset.last_id) < entry_order(targets[log_of]):
                    behind[offset.partition] = (offset.generation, offset.last_id)
            if not behind:
                return
            if behind == stuck:
                log.error("the log lacks entries that were never stored", partitions=sorted(behind))
                raise unavailable()
            found = await self._votes.read(behind, MAX_ROWS, 0)
            for partition, entries in found.items():
                generation, last_id = behind[partition]
                with suppress(StaleOffset):  # a worker was faster: the offsets are read anew
                    for batch in batches(entries):
                        await self._recorder.record(partition, generation, last_id, batch)
                        last_id = batch[-1].id
                        await self._trim(partition, generation, last_id)
            stuck = None if any(found.values()) else behind

    async def sweep(self, close: Callable[[str], Awaitable[object]]) -> None:
        """Until cancelled, every second: have the polls closed that are due, and forget sessions that have expired.

        Errors are logged and tried again.
        """
        while wanted():
            try:
                for poll_id in await due_to_close(self._database, self._clock.now(), SWEEP_POLLS):
                    await self._close(poll_id, close)
                async with self._database.transaction() as q:
                    await remove_expired(q, self._clock.now() - EXPIRED_MS)
            except Exception as error:
                log.warning("the sweep failed", error=shown(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def _close(self, poll_id: str, close: Callable[[str], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close(poll_id)
        except Exception as error:
            log.warning("cannot close a poll that is due", poll=poll_id, error=shown(error))

    async def _round(self) -> None:
        if time.monotonic() >= self._renew_at:
            async with self._database.transaction() as q:
                await self._lease(q)
            self._renew_at = time.monotonic() + RENEW_SECONDS
        # Before anything is read: the offset must not move past entries that are neither in the log nor in SQL.
        await self._make_whole()
        now = time.monotonic()
        awake = {p: at for p, at in self._offsets.items() if self._resting.until(p) <= now}
        if not awake:
            ends = [self._resting.until(p) for p in self._offsets]
            await asyncio.sleep(min([self._renew_at, *ends]) - now)
            return
        found = await self._votes.read(awake, MAX_ROWS, BLOCK_MS)
        for partition in awake:
            self._unstored[partition] = len(found.get(partition, ()))
            if not self._unstored[partition]:
                self._resting.worked(partition)
        async with asyncio.TaskGroup() as group:
            for partition, entries in found.items():
                group.create_task(self._keep(partition, entries))
        if not self._resting:
            self.error = None

    async def _make_whole(self) -> None:
        """SQL may have been put back to a backup: what the log no longer has then comes from the ledger."""
        self._whole &= self._offsets.keys()
        for partition in self._offsets.keys() - self._whole:
            if await self._restore(partition):
                self._renew_at = 0.0
            self._whole.add(partition)

    async def _keep(self, partition: int, entries: Sequence[LogEntry]) -> None:
        try:
            async with self._at_once:
                for batch in batches(entries):
                    generation, last_id = self._offsets[partition]
                    await self._recorder.record(partition, generation, last_id, batch)
                    self._offsets[partition] = (generation, batch[-1].id)
                    self._unstored[partition] -= len(batch)
                    await self._trim(partition, generation, batch[-1].id)
            self._resting.worked(partition)
        except Exception as error:
            # Also a stale offset: it is read anew with the leases, and SQL may be another one.
            self._renew_at = 0.0
            self._whole.discard(partition)
            self._resting.failed(partition)
            self._note(error)

    async def _trim(self, partition: int, generation: int, last_id: str) -> None:
        try:
            bound = await trim_bound(self._database, partition, generation, last_id, self._lag_limit)
            await self._votes.trim(partition, generation, bound)
        except (PollroomError, TryAgain) as error:
            log.warning(
                "log not trimmed", partition=partition, error=shown(error)
            )  # the next one includes it

    async def _lease(self, q: Queries) -> None:
        found = await take_share(q, READER, self._owner, self._clock.now(), self._partitions)
        # Moved by others, or back: SQL may be another one than before.
        self._whole -= {p for p, at in self._offsets.items() if found.get(p) != at}
        self._offsets = found
        self._resting.keep(found.keys())
        self._unstored = {p: n for p, n in self._unstored.items() if p in found}

    def _note(self, error: Exception) -> None:
        self.error = shown(error)
        expected = isinstance(error, PollroomError | TryAgain | StaleOffset)
        log.warning("votes not stored yet", error=self.error, exc_info=None if expected else error)


def batches(entries: Sequence[LogEntry]) -> Iterator[list[LogEntry]]:
    """At most ``MAX_ROWS`` and ``MAX_BYTES`` each; a larger entry stands alone."""
    batch: list[LogEntry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == MAX_ROWS or size + len(entry.payload) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.payload)
    if batch:
        yield batch
