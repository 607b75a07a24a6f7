"""SQL that was put back to an older backup, made whole again from the ledger."""

from app.modules.vote import model
from app.ports import Database, Fences, Shelf
from app.services.recording import READER
from app.services.verifying import entry_order
from app.utils import logger

_log = logger.get(__name__)


class Restorer:
    """Entries between the backup's offset and the trim bound are gone from the log; the ledger still has their effect."""

    def __init__(self, database: Database, fences: Fences, shelf: Shelf) -> None:
        self._database = database
        self._fences = fences
        self._shelf = shelf

    async def restore(self, partition: int) -> bool:
        """Rewrite a partition's rows where SQL is behind what was trimmed; whether it was."""
        fence = await self._fences.inspect(partition)  # before the offset: the bound follows it
        offset = await model.offset(self._database, READER, partition)
        if (
            offset is None
            or fence.generation != offset.generation
            or entry_order(fence.trimmed) <= entry_order(offset.last_id)
        ):
            return False
        _log.error("SQL is older than the log", partition=partition, sql=offset.last_id, log=fence.trimmed)
        async for poll_ids in self._shelf.polls(partition):
            known = await model.seqs(self._database, poll_ids)
            for poll_id in poll_ids:
                if poll_id not in known:
                    _log.error("a poll is newer than the backup: its rules are lost", poll=poll_id)
                    continue
                await self.rewrite(poll_id, offset.generation)
        async with self._database.transaction() as queries:
            await model.advance(queries, READER, partition, offset.generation, offset.last_id, fence.trimmed)
        _log.info("SQL is whole again", partition=partition)
        return True

    async def rewrite(self, poll_id: str, epoch: int) -> None:
        """Every ballot of a poll from the ledger into SQL; the row with the higher n stays."""
        async for rows in self._shelf.ballots(poll_id, epoch):
            async with self._database.transaction() as queries:
                await model.store(queries, sorted(rows, key=lambda row: row.voter_id))
        seqs = await self._shelf.seqs([poll_id])
        async with self._database.transaction() as queries:
            await model.raise_seq(queries, seqs)
