"""Compares the counts in Redis with a recount of the rows in SQL."""

from collections.abc import AsyncIterator

from msgspec import Struct

from ...domain.poll_kinds import KINDS, VOTERS
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import ballots as votes
from ...repositories import polls
from .sql_rebuild import Restorer

CHUNK = 100


class Difference(Struct, frozen=True):
    """``ledger`` and ``sql``: voters, and votes by option ID. ``ledger`` is ``None`` if Redis does not hold the poll."""

    poll_id: str
    ledger: tuple[int, dict[str, int]] | None
    sql: tuple[int, dict[str, int]]

    @property
    def equal(self) -> bool:
        return self.ledger is None or self.ledger == self.sql


class Recounter:
    """Drain the log into SQL before comparing."""

    def __init__(self, database: Database, ledger: Ledger, restorer: Restorer) -> None:
        self._database = database
        self._ledger = ledger
        self._restorer = restorer

    async def every_poll(self) -> AsyncIterator[str]:
        after = ""
        while ids := await polls.poll_ids_after(self._database, after, CHUNK):
            for poll_id in ids:
                yield poll_id
            after = ids[-1]

    async def compare(self, poll_id: str) -> Difference:
        rules = await polls.find(self._database, poll_id)
        counts = KINDS[rules.kind].totals(await votes.chosen(self._database, poll_id)) if rules else {}
        voters = counts.pop(VOTERS, 0)
        state = (await self._ledger.peek([poll_id])).get(poll_id)
        held = None if state is None else (state.voters, _nonzero(state.counts))
        return Difference(poll_id, held, (voters, _nonzero(counts)))

    async def repair(self, poll_id: str) -> Difference:
        """Count the ballots in Redis again and write them to SQL. A row with a higher ``n`` is kept."""
        state = await self._ledger.recount(poll_id)
        if state is not None:
            await self._restorer.rewrite(poll_id, state.epoch)
        return await self.compare(poll_id)


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {option: n for option, n in counts.items() if n}
