"""Stores entries of the vote log in SQL, with rows and offset in one transaction.

The offset moves by compare-and-set: a stale worker rolls back, and replaying entries changes nothing.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ...domain.ballots import BallotRow, LogEntry, PollChange
from ...domain.errors import BadRow
from ...domain.log_position import LogPosition
from ...domain.polls import MAX_OPTIONS
from ...ports.database import Database, Queries
from ...repositories import ballots as model
from ...utils import logger

READER: Final = "sql"
TRIES: Final = 5

log = logger.get(__name__)


class StaleOffset(Exception):
    """Another process moved the offset or the generation. Read it again."""


# Limits of the columns. MariaDB silently strips trailing spaces, and JSON_TABLE silently truncates.
_Id = Annotated[str, Meta(max_length=64)]
_Ids = Annotated[list[_Id], Meta(max_length=MAX_OPTIONS)]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Earlier(Struct, array_like=True, frozen=True):
    id: _Id
    retract: bool
    choices: _Ids
    seq: _Number
    cast_at: _Number


class _Ballot(Struct, array_like=True, frozen=True, tag="b"):
    poll_id: _Id
    voter_id: _Id
    n: _Number
    id: _Id
    retract: bool
    choices: _Ids
    seq: _Number
    cast_at: _Number
    accepted: bool
    earlier: list[_Earlier]


class _Change(Struct, array_like=True, frozen=True, tag="p"):
    kind: Literal["edit", "open", "close", "delete"]
    poll_id: _Id
    seq: _Number
    at: _Number


# Not strict: scripts encode integers as floats and booleans as 0 and 1.
_decoder: Final[msgspec.msgpack.Decoder[_Ballot | _Change]] = msgspec.msgpack.Decoder(
    _Ballot | _Change, strict=False
)
_encoder: Final = msgspec.json.Encoder()


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

    async def replay(self, after: str = "", limit: int = 100) -> tuple[list[str], list[str], str]:
        """Try to store dead letters, oldest first. Returns the IDs stored, the IDs still refused and the last ID tried."""
        stored, refused = [], []
        for letter in await model.oldest_dead_letters(self._database, after, limit):
            after = letter["id"]
            generation = letter["generation"]
            try:
                item = _decode(LogEntry(LogPosition.parse(letter["entry_id"]), b64decode(letter["entry"])))
                async with self._database.transaction() as q:
                    if isinstance(item, _Ballot):
                        await model.store(q, [_row(item, generation)])
                    else:
                        await model.apply(q, [PollChange(item.kind, item.poll_id, item.seq, item.at)])
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
            item = _decode(entry)
            seqs[item.poll_id] = max(item.seq, seqs.get(item.poll_id, 0))
            if isinstance(item, _Change):
                changes.append(PollChange(item.kind, item.poll_id, item.seq, item.at))
                continue
            known = ballots.get((item.poll_id, item.voter_id))
            if known is None or known.n < item.n:
                ballots[item.poll_id, item.voter_id] = _row(item, generation)
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
                poll_id=_poll_id(entry),
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


def read_entry(entry: LogEntry, generation: int) -> tuple[str, int, BallotRow | None]:
    """Poll ID, ``seq``, and the ballot if the entry is one. Raises ``BadRow`` if it cannot be decoded."""
    item = _decode(entry)
    return item.poll_id, item.seq, _row(item, generation) if isinstance(item, _Ballot) else None


def _decode(entry: LogEntry) -> _Ballot | _Change:
    try:
        return _decoder.decode(entry.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRow(f"cannot decode: {error}") from error


def _row(ballot: _Ballot, generation: int) -> BallotRow:
    return BallotRow(
        poll_id=ballot.poll_id,
        voter_id=ballot.voter_id,
        n=ballot.n,
        ballot_id=ballot.id,
        choices="" if ballot.retract else ",".join(ballot.choices),
        seq=ballot.seq,
        epoch=generation,
        cast_at=ballot.cast_at,
        accepted=ballot.accepted,
        earlier=_encoder.encode(ballot.earlier).decode(),
    )


def _poll_id(entry: LogEntry) -> str:
    """Poll ID of an undecodable entry, or empty if unknown. A poll with dead letters is not loaded."""
    try:
        match msgspec.msgpack.decode(entry.payload):
            case ["b", str(poll_id), *_] | ["p", _, str(poll_id), *_] if (
                poll_id.isascii() and len(poll_id) <= 26
            ):
                return poll_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return ""
