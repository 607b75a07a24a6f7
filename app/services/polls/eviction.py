"""Polls that rest leave the ledger: SQL has them whole, and the next read brings them back."""

import asyncio

from ...ports.database import Database
from ...ports.ledger import PollStore
from ...repositories import ballots as model
from ...utils import logger
from ..vote_log.recorder import READER

SHORTEST_ROUND, LONGEST_ROUND = 0.5, 60.0

_log = logger.get(__name__)


class Eviction:
    """``rest_seconds``: how long nobody has voted or asked before a poll is unloaded."""

    def __init__(self, database: Database, store: PollStore, rest_seconds: float) -> None:
        self._database = database
        self._store = store
        self._rest = max(1, int(rest_seconds))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(min(LONGEST_ROUND, max(SHORTEST_ROUND, self._rest / 10)))
            try:
                await self.round()
            except Exception as error:
                _log.warning("resting polls were not unloaded", error=repr(error)[:200])

    async def round(self) -> int:
        """How many were unloaded. Each is one script, which checks again that it rests and that SQL has it."""
        offsets = {offset.partition: offset for offset in await model.offsets(self._database, READER)}
        kept = set(await model.dead_letters_by_poll(self._database))
        unloaded = 0
        async for poll_ids in self._store.polls():
            for poll_id in poll_ids:
                offset = offsets[self._store.partition(poll_id)]
                if poll_id not in kept:
                    unloaded += await self._store.unload(
                        poll_id, offset.generation, offset.last_id, self._rest
                    )
        return unloaded
