"""Stores entries of the vote log in SQL, with rows and offset in one transaction.

The offset moves by compare-and-set: a stale worker rolls back, and replaying entries changes nothing.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

from ...domain.ballots import BallotRow, LogContent, LogEntry, PollChange, Undecodable
from ...domain.errors import BadRow
from ...domain.log_position import LogPosition
from ...ports.database import Database, Queries
from ...ports.vote_log import VoteLog
from ...repositories import ballots as model
from ...utils import logger

READER: Final = "sql"
TRIES: Final = 5

log = logger.get(__name__)


class StaleOffset(Exception):
    """Another process moved the offset or the generation. Read it again."""


class Recorder:
    """Stores batches of one partition. Raises ``StaleOffset``, or ``UNAVAILABLE`` for a temporary failure."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, partition: int, generation: int, old_id: LogPosition | None, entries: Sequence[LogEntry]
    ) -> None:
        """Store ``entries``, which follow ``old_id``, and move the offset to the last of them. With ``old_id=None`` the
        offset stays: the entries are of a generation that SQL has left behind.

        An entry that cannot be decoded or stored is isolated by bisection, tried five times, and moved to ``dead_letters``, so
        that it does not block later entries. Some of the entries may be stored when this raises.
        """
        if not entries:
            return
        try:
            await self._store(partition, generation, old_id, entries)
        except BadRow as error:
            if len(entries) == 1:
                await self._bury(partition, generation, old_id, entries[0], error)
                return
            middle = len(entries) // 2
            await self.record(partition, generation, old_id, entries[:middle])
            following = None if old_id is None else entries[middle - 1].id
            await self.record(partition, generation, following, entries[middle:])

    async def replay(
        self, votes: VoteLog, after: str = "", limit: int = 100
    ) -> tuple[list[str], list[str], str]:
        """Try to store dead letters, oldest first. Returns the IDs stored, the IDs still refused and the last ID tried."""
        stored, refused = [], []
        for letter in await model.oldest_dead_letters(self._database, after, limit):
            after = letter["id"]
            try:
                item = _decoded(votes.decode(b64decode(letter["entry"]), letter["generation"]))
                async with self._database.transaction() as q:
                    if isinstance(item, BallotRow):
                        await model.store(q, [item])
                    else:
                        await model.apply(q, [item])
                    await model.raise_seq(q, {item.poll_id: item.seq})
                    await model.delete_dead_letter(q, after)
                stored.append(after)
            except BadRow:
                refused.append(after)
        return stored, refused, after

    async def _store(
        self, partition: int, generation: int, old_id: LogPosition | None, entries: Sequence[LogEntry]
    ) -> None:
        ballots: dict[tuple[str, str], BallotRow] = {}
        changes: list[PollChange] = []
        seqs: dict[str, int] = {}
        for entry in entries:
            item = content(entry)
            seqs[item.poll_id] = max(item.seq, seqs.get(item.poll_id, 0))
            if isinstance(item, PollChange):
                changes.append(item)
                continue
            known = ballots.get((item.poll_id, item.voter_id))
            if known is None or known.n < item.n:
                ballots[item.poll_id, item.voter_id] = item
        async with self._database.transaction() as q:
            await _advance(q, partition, generation, old_id, entries)
            # Sorted by key, so that concurrent transactions lock rows in the same order.
            await model.store(q, [ballots[key] for key in sorted(ballots)])
            await model.apply(q, changes)
            await model.raise_seq(q, seqs)

    async def _bury(
        self, partition: int, generation: int, old_id: LogPosition | None, entry: LogEntry, error: BadRow
    ) -> None:
        for _ in range(TRIES - 1):
            try:
                await self._store(partition, generation, old_id, [entry])
            except BadRow as again:
                error = again
            else:
                return
        async with self._database.transaction() as q:
            await _advance(q, partition, generation, old_id, [entry])
            await model.add_dead_letter(
                q,
                poll_id=_poll_id(entry.content),
                partition=partition,
                generation=generation,
                entry_id=str(entry.id),
                entry=b64encode(entry.payload).decode(),
                error=str(error),
                created_at=entry.id.milliseconds,
            )
        log.error("dead letter", partition=partition, entry=str(entry.id))


async def _advance(
    q: Queries, partition: int, generation: int, old_id: LogPosition | None, entries: Sequence[LogEntry]
) -> None:
    if old_id is not None and not await model.advance(
        q, READER, partition, generation, old_id, entries[-1].id, len(entries)
    ):
        raise StaleOffset


def _poll_id(found: LogContent) -> str:
    """Empty if it is unknown or no ID. A poll with dead letters is not loaded."""
    return found.poll_id if found.poll_id.isascii() and len(found.poll_id) <= 26 else ""


def content(entry: LogEntry) -> BallotRow | PollChange:
    """Raises ``BadRow`` if the entry could not be decoded."""
    return _decoded(entry.content)


def _decoded(found: LogContent) -> BallotRow | PollChange:
    if isinstance(found, Undecodable):
        raise BadRow(found.reason)
    return found
