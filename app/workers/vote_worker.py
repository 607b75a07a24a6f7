"""Moves the vote log into SQL: read from the offset, store each batch in one transaction, then trim.

Workers share the partitions by short leases, which only save work. If two workers read the same partition, the
compare-and-set of the offset in ``services/vote_log/recorder.py`` keeps the result correct.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from ..domain.ballots import LogEntry
from ..domain.errors import PollroomError, unavailable
from ..domain.log_position import LogPlace, LogPosition
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
# Concurrent transactions. The other database connections are left to requests.
AT_ONCE: Final = 4
SWEEP_SECONDS: Final = 1.0
SWEEP_POLLS: Final = 100
CLOSE_SECONDS: Final = 5.0
# Kept after expiry until every access token of the session has expired: revocation must be found until then.
EXPIRED_MS: Final = 86_400_000

log = logger.get(__name__)


class VoteWorker:
    """``owner`` names this worker. ``restore`` rebuilds a partition in SQL from the ledger if SQL is older than the log.
    ``lag_limit``: entries kept in the log for a relay that is behind SQL.

    ``pending``: entries read but not stored. ``error``: why storing fails, or ``None``.
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
        # Partitions whose rows were checked since this worker leased them.
        self._whole: set[int] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        # Generation and last stored ID of each leased partition.
        self._offsets: dict[int, LogPlace] = {}
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
        """Run until cancelled. Outages are retried indefinitely. A failing partition does not delay the others."""
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
        """Store everything now in the log, in all partitions, regardless of leases. Can run concurrently with ``run``.

        Raises ``UNAVAILABLE`` if that is not possible.
        """
        for partition in range(self._partitions):
            await self._restore(partition)
        targets: dict[tuple[int, int], LogPosition] = {}
        stuck: dict[int, LogPlace] | None = None
        while True:
            behind: dict[int, LogPlace] = {}
            for offset in await model.offsets(self._database, READER):
                log_of = (offset.partition, offset.generation)
                if log_of not in targets:
                    targets[log_of] = await self._votes.last_id(*log_of)
                if offset.last_id < targets[log_of]:
                    behind[offset.partition] = LogPlace(offset.generation, offset.last_id)
            if not behind:
                return
            if behind == stuck:
                log.error("log entries missing that were never stored", partitions=sorted(behind))
                raise unavailable()
            found = await self._votes.read(behind, MAX_ROWS, 0)
            for partition, entries in found.items():
                generation, last_id = behind[partition]
                with suppress(StaleOffset):  # a worker was faster: read the offsets again
                    for batch in batches(entries):
                        await self._recorder.record(partition, generation, last_id, batch)
                        last_id = batch[-1].id
                        await self._trim(partition, generation, last_id)
            stuck = None if any(found.values()) else behind

    async def sweep(self, close: Callable[[str], Awaitable[object]]) -> None:
        """Close due polls and delete expired sessions every second, until cancelled. Errors are logged and retried."""
        while wanted():
            try:
                for poll_id in await due_to_close(self._database, self._clock.now(), SWEEP_POLLS):
                    await self._close(poll_id, close)
                async with self._database.transaction() as q:
                    await remove_expired(q, self._clock.now() - EXPIRED_MS)
            except Exception as error:
                log.warning("sweep failed", error=shown(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def _close(self, poll_id: str, close: Callable[[str], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close(poll_id)
        except Exception as error:
            log.warning("due poll not closed", poll=poll_id, error=shown(error))

    async def _round(self) -> None:
        if time.monotonic() >= self._renew_at:
            async with self._database.transaction() as q:
                await self._lease(q)
            self._renew_at = time.monotonic() + RENEW_SECONDS
        # Before reading: the offset must not move past entries that are neither in the log nor in SQL.
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
        """Rebuild newly leased partitions from the ledger if SQL was restored from a backup."""
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
                    self._offsets[partition] = LogPlace(generation, batch[-1].id)
                    self._unstored[partition] -= len(batch)
                    await self._trim(partition, generation, batch[-1].id)
            self._resting.worked(partition)
        except Exception as error:
            # Includes a stale offset. Offsets are read again with the leases, and SQL may have been restored.
            self._renew_at = 0.0
            self._whole.discard(partition)
            self._resting.failed(partition)
            self._note(error)

    async def _trim(self, partition: int, generation: int, last_id: LogPosition) -> None:
        try:
            bound = await trim_bound(self._database, partition, generation, last_id, self._lag_limit)
            await self._votes.trim(partition, generation, bound)
        except (PollroomError, TryAgain) as error:
            log.warning(
                "log not trimmed", partition=partition, error=shown(error)
            )  # the next trim includes it

    async def _lease(self, q: Queries) -> None:
        found = await take_share(q, READER, self._owner, self._clock.now(), self._partitions)
        # Another process moved the offset, or SQL was restored.
        self._whole -= {p for p, at in self._offsets.items() if found.get(p) != at}
        self._offsets = found
        self._resting.keep(found.keys())
        self._unstored = {p: n for p, n in self._unstored.items() if p in found}

    def _note(self, error: Exception) -> None:
        self.error = shown(error)
        expected = isinstance(error, PollroomError | TryAgain | StaleOffset)
        log.warning("votes not stored", error=self.error, exc_info=None if expected else error)


def batches(entries: Sequence[LogEntry]) -> Iterator[list[LogEntry]]:
    """Split into batches of at most ``MAX_ROWS`` and ``MAX_BYTES``. A larger entry forms its own batch."""
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
