"""Is a partition of the ledger what SQL was last compared with? Only then are votes taken from it.

Redis may have been restarted, emptied, or put back to an older state; its run id tells that something happened. The
partition's offset in SQL, compared with the log's last id, tells whether something was lost.
"""

from app.modules.vote import model
from app.ports import Database, Fences, VoteLog
from app.services.recording import READER
from app.utils import logger
from app.utils.errors import unavailable

NOTHING = "0-0"

_log = logger.get(__name__)


class Verifier:
    def __init__(self, database: Database, fences: Fences, log: VoteLog) -> None:
        self._database = database
        self._fences = fences
        self._votes = log

    async def verify(self, partition: int) -> int:
        """Write the fence of a partition that lost nothing; its generation. ``UNAVAILABLE`` where it did, or may have."""
        async with self._database.transaction() as queries:
            offset = await model.lock_offset(queries, READER, partition)
            if offset is None:
                raise unavailable()
            fence = await self._fences.inspect(partition)
            if fence.verified == fence.run and fence.generation == offset.generation:
                return offset.generation
            last = await self._votes.last_id(partition, offset.generation)
            emptied = fence.verified is None and offset.last_id != NOTHING
            if emptied or entry_order(last) < entry_order(offset.last_id):
                _log.error("the ledger is behind SQL", partition=partition, log=last, sql=offset.last_id)
                raise unavailable(5.0)
            if not await self._fences.write(partition, fence.run, offset.generation):
                raise unavailable()
            return offset.generation


def entry_order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
