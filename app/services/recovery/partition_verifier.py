"""Is a partition of the ledger what SQL was last compared with? Only then are votes taken from it.

Redis may have been restarted, emptied, or have lost its last writes: the run id in the fence no longer fits, and every
script refuses. Then what is left of the log is stored, and the log's last id is compared with the offset in SQL. Where
nothing was lost, the fence is written. Where something was, or may have been, the generation grows by one: it is the epoch
of every tally, so clients keep the newer one, and a worker of the old generation can no longer commit. Polls that SQL knows
better are dropped and loaded anew on demand; the log begins under its new name; the fence is written last. SQL
that was put back to a backup is made whole before.
"""

import asyncio

from ...domain.errors import unavailable
from ...domain.log_position import BEGUN, NOTHING, entry_order
from ...ports.database import Database
from ...ports.ledger import Fences, FenceState, PollStore
from ...ports.vote_log import VoteLog
from ...repositories import ballots as model
from ...repositories.ballots import Offset
from ...utils import logger
from ..vote_log.recorder import READER, Recorder, StaleOffset
from .sql_rebuild import Restorer

BATCH = 1000
VERIFY_SECONDS = 60.0

_log = logger.get(__name__)


class PartitionVerifier:
    def __init__(self, database: Database, fences: Fences, log: VoteLog, shelf: PollStore) -> None:
        self._database = database
        self._fences = fences
        self._votes = log
        self._shelf = shelf
        self._recorder = Recorder(database)
        self._restorer = Restorer(database, fences, shelf)
        self._running: dict[int, asyncio.Task[int]] = {}

    async def verify(self, partition: int) -> int:
        """The generation in force, once the fence holds; once at a time. ``UNAVAILABLE`` where it cannot be told now."""
        task = self._running.get(partition)
        if task is None:
            task = self._running[partition] = asyncio.create_task(self._verify(partition))
            task.add_done_callback(lambda _: self._running.pop(partition, None))
        return await asyncio.shield(task)

    async def _verify(self, partition: int) -> int:
        try:
            # The offset before the fence: another process that verifies now changes them in this order.
            offset = await self._offset(partition)
            fence = await self._fences.inspect(partition)
            if _holds(fence, offset):
                return offset.generation
            await self._restorer.restore(partition)  # takes as long as it takes
            async with asyncio.timeout(VERIFY_SECONDS):
                offset = await self._store_rest(partition)
                fence = await self._fences.inspect(partition)
                if offset.fencing != fence.run and not _holds(fence, offset):
                    last = await self._votes.last_id(partition, offset.generation)
                    lost = await self._lost(fence, offset, last)
                    if lost:
                        _log.error("the ledger lost entries, or may have", partition=partition, why=lost)
                        await self._drop_older(partition, same_seq=_behind(last, offset))
                    await self._compare(partition, fence.run, lost is not None)
                    offset = await self._offset(partition)
                if fence.generation < offset.generation:
                    # Again: until now a worker could commit what it had read before it was lost.
                    await self._drop_older(partition)
                await self._fences.settle(partition)
                return await self._write(partition, fence.run)
        except (TimeoutError, StaleOffset) as error:
            raise unavailable() from error

    async def _offset(self, partition: int) -> Offset:
        offset = await model.offset(self._database, READER, partition)
        if offset is None:
            raise unavailable()
        return offset

    async def _store_rest(self, partition: int) -> Offset:
        """What is left of the log, into SQL; nothing can be added to it while the fence does not hold."""
        while True:
            offset = await self._offset(partition)
            at = {partition: (offset.generation, offset.last_id)}
            entries = (await self._votes.read(at, BATCH, 0)).get(partition)
            if not entries:
                return offset
            try:
                await self._recorder.record(partition, offset.generation, offset.last_id, entries)
            except StaleOffset:
                continue  # a worker was faster

    async def _lost(self, fence: FenceState, offset: Offset, last: str) -> str | None:
        """Why something was lost or may have been; none where everything acknowledged is there."""
        if _behind(last, offset):
            return f"SQL has entries up to {offset.last_id}, the log only to {last}"
        if fence.verified is None:
            new = offset.last_id == NOTHING and last == NOTHING
            return None if new else "the fence is gone"
        if fence.generation != offset.generation:
            return f"the fence is of generation {fence.generation}, SQL of {offset.generation}"
        return (
            None if await self._fences.trusted() else "this Redis does not keep every write, or has a replica"
        )

    async def _drop_older(self, partition: int, *, same_seq: bool = False) -> None:
        """``same_seq``: also where the seqs are equal. Retracting nothing takes none, so they do not tell whether one is lost."""
        async for poll_ids in self._shelf.polls(partition):
            known = await model.seqs(self._database, poll_ids)
            held = await self._shelf.seqs(poll_ids)
            for poll_id, seq in known.items():
                if held.get(poll_id, -1) < seq + same_seq:
                    await self._shelf.drop(poll_id, seq + same_seq)

    async def _compare(self, partition: int, run: str, lost: bool) -> None:
        """Say in SQL which server the fence will be written for, and under which generation."""
        async with self._database.transaction() as queries:
            offset = await model.lock_offset(queries, READER, partition)
            fence = await self._fences.inspect(partition)
            if offset is None or fence.run != run:
                raise unavailable()
            if offset.fencing == run or _holds(fence, offset):
                return  # another process came first
            last = await self._votes.last_id(partition, offset.generation)
            if entry_order(last) > max(entry_order(offset.last_id), entry_order(BEGUN)):
                raise unavailable()  # came to be stored since
            if lost:
                # All of it is stored, and while the fence does not hold nothing is added. Before the generation grows: after
                # a crash in between the log is behind SQL, and the generation grows nevertheless.
                await self._votes.discard(partition, offset.generation)
                await model.fence(queries, READER, partition, offset.generation + 1, BEGUN, run)
            else:
                begun = BEGUN if offset.last_id == NOTHING else offset.last_id
                await model.fence(queries, READER, partition, offset.generation, begun, run)

    async def _write(self, partition: int, run: str) -> int:
        async with self._database.transaction() as queries:
            offset = await model.lock_offset(queries, READER, partition)
            if offset is None:
                raise unavailable()
            held = _holds(await self._fences.inspect(partition), offset)
            pending = offset.fencing == run
            if not held and not (pending and await self._fences.write(partition, run, offset.generation)):
                raise unavailable()
            await model.fence(queries, READER, partition, offset.generation, offset.last_id, None)
        if offset.generation > 1:
            await self._votes.discard(partition, offset.generation - 1)
        return offset.generation


def _behind(last: str, offset: Offset) -> bool:
    """Whether SQL has entries that the log does not have, nor ever trimmed."""
    stored = entry_order(offset.last_id)
    return entry_order(last) < stored and stored > entry_order(BEGUN)


def _holds(fence: FenceState, offset: Offset) -> bool:
    return fence.verified == fence.run and fence.generation == offset.generation
