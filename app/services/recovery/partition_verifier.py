"""Verifies that the data of a partition matches SQL. Votes are accepted only after that.

Redis may have been restarted, emptied, or may have lost its last writes. The run ID in the fence then differs from that of the
server, and every script refuses. Verification stores the rest of the log and compares the log's last ID with the offset in SQL:

- If nothing was lost, it writes the fence.
- If something was lost, or may have been, it increments the generation. The generation is the epoch of every tally, so clients
  keep the newer tally, and a worker of the old generation cannot commit. Polls with a newer copy in SQL are dropped and loaded
  again on demand, the log starts under a new name, and the fence is written last.

If SQL was restored from a backup, it is rebuilt from the ledger first. If another Redis incremented the generation, the log of
this one is stored first. ``ownership.py`` decides whether this Redis may be used and may increment the generation.
"""

import asyncio

from ...domain.errors import unavailable
from ...domain.log_position import BEGUN, NOTHING, LogPlace, LogPosition
from ...domain.values import new_id
from ...ports.database import Database
from ...ports.ledger import Fences, FenceState, PollStore
from ...ports.vote_log import VoteLog
from ...repositories import ballots as model
from ...repositories.ballots import Offset
from ...repositories.ledger_partitions import renew
from ...utils import logger
from ...utils.single_flight import SingleFlight
from ..vote_log.recorder import READER, Recorder, StaleOffset
from .ownership import LedgerMismatch, Ownership
from .sql_rebuild import Restorer

BATCH = 1000
NEWEST = 2**53
"""Above every ``seq``."""
VERIFY_SECONDS = 60.0

_log = logger.get(__name__)


class PartitionVerifier:
    """``heals``: whether this process may raise a generation, and rewrite SQL from the ledger. A command that was started
    with the wrong Redis would otherwise keep the votes of a running deployment out of SQL."""

    def __init__(
        self,
        database: Database,
        fences: Fences,
        log: VoteLog,
        store: PollStore,
        ownership: Ownership,
        *,
        heals: bool = True,
    ) -> None:
        self._heals = heals
        self._ownership = ownership
        self._database = database
        self._fences = fences
        self._votes = log
        self._store = store
        self._recorder = Recorder(database)
        self._restorer = Restorer(database, fences, store)
        self._running: SingleFlight[int, int] = SingleFlight()

    async def verify(self, partition: int) -> int:
        """Verify a partition, once at a time, and return its generation. Raises ``UNAVAILABLE`` if it cannot be verified now."""
        return await self._running.run(partition, lambda: self._verify(partition))

    async def _verify(self, partition: int) -> int:
        try:
            # Read the offset before the fence: a concurrent verification changes them in this order.
            offset = await self._offset(partition)
            fence = await self._fences.inspect(partition)
            ledger = await self._ownership.check(fence)
            if holds(fence, offset):
                if fence.ledger is None:  # written by an earlier version
                    await self._write(partition, fence, ledger)
                return offset.generation
            if not self._heals and _sql_is_behind(fence, offset):
                raise _undecided("SQL is older than the vote log")
            if self._heals and fence.verified == fence.run and fence.generation < offset.generation:
                # Acknowledged votes would not reach SQL. Stop every process that uses this Redis, then store its log.
                _log.error("another Redis has replaced this one", partition=partition)
                await self._fences.remove(partition, fence.generation)
            await self._restorer.restore(partition)  # outside the timeout: a rebuild may take longer
            async with asyncio.timeout(VERIFY_SECONDS):
                offset = await self._store_rest(partition)
                fence = await self._fences.inspect(partition)
                if offset.fencing != fence.run and not holds(fence, offset):
                    await self._decide(partition, fence, offset)
                    offset = await self._offset(partition)
                if fence.generation < offset.generation:
                    # Drop again: until now a worker could commit entries that it had read before they were lost.
                    await self._drop_older(partition)
                await self._fences.rewrite_aof(partition)
                return await self._write(partition, fence, ledger)
        except (TimeoutError, StaleOffset) as error:
            raise unavailable() from error

    async def _decide(self, partition: int, fence: FenceState, offset: Offset) -> None:
        """Increment the generation if entries were lost, and record in SQL the server whose fence will be written."""
        last = await self._votes.last_id(partition, offset.generation)
        lost = await self._lost(fence, offset, last)
        if lost and not self._heals:
            raise _undecided(lost)
        replaced = 0 < fence.generation < offset.generation
        if replaced:
            await self._store_earlier_log(partition, fence)
        if replaced or (lost and not fence.generation):
            await self._ownership.may_replace(partition, fence.run)
        if lost:
            _log.error("ledger may have lost entries", partition=partition, why=lost)
            # SQL has everything of a replaced ledger, and perhaps votes of the Redis that replaced it.
            await self._drop_older(partition, same_seq=_behind(last, offset), every=replaced)
        await self._compare(partition, fence.run, lost is not None)

    async def _store_earlier_log(self, partition: int, fence: FenceState) -> None:
        """Store what is left of the log of a generation that SQL has left behind. Nothing is appended without a fence."""
        last = fence.trimmed
        while True:
            found = await self._votes.read({partition: LogPlace(fence.generation, last)}, BATCH, 0)
            entries = found.get(partition)
            if not entries:
                return
            await self._recorder.record(partition, fence.generation, None, entries)
            last = entries[-1].id

    async def _offset(self, partition: int) -> Offset:
        offset = await model.offset(self._database, READER, partition)
        if offset is None:
            raise unavailable()
        return offset

    async def _store_rest(self, partition: int) -> Offset:
        """Store the rest of the log in SQL. Nothing is appended while the fence is invalid."""
        while True:
            offset = await self._offset(partition)
            at = {partition: LogPlace(offset.generation, offset.last_id)}
            entries = (await self._votes.read(at, BATCH, 0)).get(partition)
            if not entries:
                return offset
            try:
                await self._recorder.record(partition, offset.generation, offset.last_id, entries)
            except StaleOffset:
                continue  # a worker was faster

    async def _lost(self, fence: FenceState, offset: Offset, last: LogPosition) -> str | None:
        """Why entries were lost or may have been; ``None`` if every acknowledged entry is present."""
        if _behind(last, offset):
            return f"SQL has entries up to {offset.last_id}, the log only to {last}"
        if not fence.generation:
            new = offset.last_id == NOTHING and last == NOTHING
            return None if new else "the fence is gone"
        if fence.generation != offset.generation:
            return f"the fence is of generation {fence.generation}, SQL of {offset.generation}"
        return (
            None if await self._fences.trusted() else "this Redis does not keep every write, or has a replica"
        )

    async def _drop_older(self, partition: int, *, same_seq: bool = False, every: bool = False) -> None:
        """``same_seq``: also drop polls with equal ``seq``, since an empty retraction is logged without a new ``seq``.
        ``every``: drop all polls that SQL has."""
        async for poll_ids in self._store.polls(partition):
            known = await model.seqs(self._database, poll_ids)
            held = await self._store.seqs(poll_ids)
            for poll_id, seq in known.items():
                bound = NEWEST if every else seq + same_seq
                if held.get(poll_id, -1) < bound:
                    await self._store.drop(poll_id, bound)

    async def _compare(self, partition: int, run: str, lost: bool) -> None:
        """Record in SQL the server and the generation for which the fence will be written."""
        async with self._database.transaction() as queries:
            offset = await model.lock_offset(queries, READER, partition)
            fence = await self._fences.inspect(partition)
            if offset is None or fence.run != run:
                raise unavailable()
            if offset.fencing == run or holds(fence, offset):
                return  # another process came first
            last = await self._votes.last_id(partition, offset.generation)
            if last > max(offset.last_id, BEGUN):
                raise unavailable()  # entries arrived that are not stored
            if lost:
                # The whole log is stored, and nothing is appended while the fence is invalid. Discard it before incrementing the
                # generation: after a crash in between, the log is behind SQL, so the generation is still incremented.
                await self._votes.discard(partition, offset.generation)
                await model.fence(queries, READER, partition, offset.generation + 1, BEGUN, run)
            else:
                begun = BEGUN if offset.last_id == NOTHING else offset.last_id
                await model.fence(queries, READER, partition, offset.generation, begun, run)

    async def _write(self, partition: int, compared: FenceState, ledger: str) -> int:
        """Write the fence. ``compared``: the fence at the comparison."""
        run = compared.run
        async with self._database.transaction() as queries:
            offset = await model.lock_offset(queries, READER, partition)
            if offset is None:
                raise unavailable()
            fence = await self._fences.inspect(partition)
            if fence.run != run or not (holds(fence, offset) or offset.fencing == run):
                raise unavailable()
            if not await self._fences.write(partition, run, offset.generation, ledger):
                raise unavailable()
            await model.fence(queries, READER, partition, offset.generation, offset.last_id, None)
            await renew(queries, {partition: run}, new_id())
        self._ownership.settled(partition)
        for earlier in range(max(1, compared.generation or offset.generation - 1), offset.generation):
            await self._votes.discard(partition, earlier)
        return offset.generation


def _undecided(why: str) -> LedgerMismatch:
    return LedgerMismatch(
        f"{why}. Check both settings; if they are right, start `serve` or `worker`, which recover"
    )


def _behind(last: LogPosition, offset: Offset) -> bool:
    """Whether SQL has entries that the log neither has nor trimmed."""
    return last < offset.last_id and offset.last_id > BEGUN


def _sql_is_behind(fence: FenceState, offset: Offset) -> bool:
    """Whether SQL lacks entries that were trimmed, as after it was restored from a backup."""
    if fence.generation != offset.generation:
        return fence.generation > offset.generation
    return fence.trimmed > offset.last_id


def holds(fence: FenceState, offset: Offset) -> bool:
    """Whether votes are accepted in the partition."""
    return fence.verified == fence.run and fence.generation == offset.generation
