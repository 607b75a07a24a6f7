"""Rebuilds SQL from the ledger after it was restored from an older backup."""

from ...domain.log_position import BEGUN
from ...ports.database import Database
from ...ports.ledger import Fences, PollStore
from ...repositories import ballots as model
from ...utils import logger
from ..vote_log.recorder import READER

_log = logger.get(__name__)


class Restorer:
    """Entries after the backup's offset may be trimmed from the log. The ledger still has the ballots."""

    def __init__(self, database: Database, fences: Fences, store: PollStore) -> None:
        self._database = database
        self._fences = fences
        self._store = store

    async def restore(self, partition: int) -> bool:
        """Rewrite the rows of a partition if SQL lacks trimmed entries or has an older generation. Returns whether it did."""
        found = False
        while await self._is_behind(partition):
            found = True
        if found:
            _log.info("SQL rebuilt", partition=partition)
        return found

    async def _is_behind(self, partition: int) -> bool:
        """Whether SQL is behind. If so, rewrite its rows, and move the offset unless another process moved it."""
        # Read the fence before the offset: its trim bound and generation exceed those of SQL only if SQL was restored.
        fence = await self._fences.inspect(partition)
        offset = await model.offset(self._database, READER, partition)
        if offset is None:
            return False
        bound = max(fence.trimmed, BEGUN)
        if fence.generation == offset.generation:
            if fence.trimmed <= offset.last_id:
                return False
        elif fence.generation < offset.generation:
            return False
        _log.error(
            "SQL is older than the log",
            partition=partition,
            sql=(offset.generation, str(offset.last_id)),
            log=(fence.generation, str(fence.trimmed)),
        )
        async for poll_ids in self._store.polls(partition):
            known = await model.seqs(self._database, poll_ids)
            for poll_id in poll_ids:
                if poll_id not in known:
                    _log.error("poll missing from the backup, rules lost", poll=poll_id)
                    continue
                await self.rewrite(poll_id, fence.generation)
        async with self._database.transaction() as queries:
            current = await model.lock_offset(queries, READER, partition)
            if current is not None and (current.generation, current.last_id) == (
                offset.generation,
                offset.last_id,
            ):
                await model.fence(queries, READER, partition, fence.generation, bound, None)
        return True

    async def rewrite(self, poll_id: str, epoch: int) -> None:
        """Write a poll's ballots, closing and deletion from the ledger to SQL. A row with a higher ``n`` is kept."""
        async for rows in self._store.ballots(poll_id, epoch):
            async with self._database.transaction() as queries:
                await model.store(queries, sorted(rows, key=lambda row: row.voter_id))
        seqs = await self._store.seqs([poll_id])
        endings = await self._store.endings([poll_id])
        async with self._database.transaction() as queries:
            await model.apply(queries, endings)
            await model.raise_seq(queries, seqs)
