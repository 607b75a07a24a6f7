"""The queries of ``sql/queries/relay.sql``: readers of the vote log other than the worker, and what they have sent."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from ..domain.ballots import BallotRow
from ..domain.log_position import LogPosition
from ..ports.database import Queries

SQL: Final = "sql"
KAFKA: Final = "kafka"

READS, LOST, RESENDS = 0, 1, 2
"""``gap``: reads the log; lost its position there; has a position again, and sends what is before it from SQL."""


class Position(Struct, frozen=True):
    """How far a reader has come in a partition. ``passed``: entries behind it, comparable between readers."""

    reader: str
    partition: int
    generation: int
    last_id: LogPosition
    passed: int
    gap: int


class Behind(Struct, frozen=True):
    """A poll whose ballots were sent up to the seq ``sent``, while SQL has it up to ``seq``."""

    id: str
    seq: int
    sent: int


def _position(row: Mapping[str, Any]) -> Position:
    return Position(**{**row, "last_id": LogPosition.parse(row["last_id"])})


async def positions(q: Queries) -> list[Position]:
    return [_position(row) for row in await q.all("reader.all")]


async def of_partition(q: Queries, partition: int) -> dict[str, Position]:
    """By reader."""
    rows = await q.all("reader.of_partition", partition=partition)
    return {row["reader"]: _position(row) for row in rows}


async def create(q: Queries, partition: int) -> None:
    """Raises ``DuplicateKey`` if it exists."""
    await q.run("reader.create", reader=KAFKA, partition=partition)


async def advance(q: Queries, at: Position, last_id: LogPosition, entries: int) -> bool:
    """Compare and set. False if the reader is no longer ``at`` this position, or has lost it."""
    matched = await q.run(
        "reader.advance",
        reader=at.reader,
        partition=at.partition,
        generation=at.generation,
        old_id=str(at.last_id),
        last_id=str(last_id),
        entries=entries,
    )
    return matched == 1


async def lose(q: Queries, at: Position) -> bool:
    """Compare and set."""
    matched = await q.run(
        "reader.lose",
        reader=at.reader,
        partition=at.partition,
        generation=at.generation,
        last_id=str(at.last_id),
    )
    return matched == 1


async def place(q: Queries, partition: int, generation: int, last_id: LogPosition, passed: int) -> None:
    """Set the reader to the position of SQL, whose offset the transaction has locked."""
    await q.run(
        "reader.place",
        reader=KAFKA,
        partition=partition,
        generation=generation,
        last_id=str(last_id),
        passed=passed,
    )


async def resume(q: Queries, at: Position) -> bool:
    """Compare and set."""
    matched = await q.run(
        "reader.resume",
        reader=at.reader,
        partition=at.partition,
        generation=at.generation,
        last_id=str(at.last_id),
    )
    return matched == 1


async def remove(q: Queries) -> int:
    """In a transaction: remove the relay. Returns the number of partitions that it read."""
    await q.run("relayed.clear")
    return await q.run("reader.remove", reader=KAFKA)


async def raise_sent(q: Queries, seqs: Mapping[str, int]) -> None:
    """Poll id -> seq. Ordered, so that two transactions cannot deadlock."""
    await q.bulk("relayed.raise", [{"poll_id": poll_id, "seq": seq} for poll_id, seq in sorted(seqs.items())])


async def behind(q: Queries, after: str, limit: int) -> list[Behind]:
    """Ordered by id: begin with an empty ``after``."""
    return [Behind(**row) for row in await q.all("relayed.behind", after=after, limit=limit)]


async def ballots_from(q: Queries, poll_id: str, seq: int, voter_id: str, limit: int) -> list[BallotRow]:
    """A poll's ballots with at least this seq, ordered by voter: begin with an empty ``voter_id``."""
    rows = await q.all("relayed.ballots", poll_id=poll_id, seq=seq, voter_id=voter_id, limit=limit)
    return [BallotRow(**{**row, "accepted": bool(row["accepted"])}) for row in rows]
