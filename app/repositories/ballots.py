"""The queries of ``sql/queries/vote.sql``: ballots, and what the vote log says of polls. Times in milliseconds."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..domain.ballots import BallotRow, PollChange, option_ids
from ..domain.log_position import LogPosition
from ..domain.values import new_id
from ..ports.database import Queries
from . import commitments

ERROR_LENGTH = 500

_ballot = msgspec.json.Decoder(tuple[str, int, str, str, int, int, int, int, str]).decode


class Offset(Struct, frozen=True):
    """How far a reader of the vote log has come in a partition, and who reads there until ``lease_until``.

    ``passed``: how many entries it has behind it, as far as they were counted.
    """

    partition: int
    generation: int
    last_id: LogPosition
    fencing: str | None
    lease_owner: str | None
    lease_until: int | None
    passed: int = 0


async def store(q: Queries, rows: Sequence[BallotRow]) -> None:
    """Store ballots, in any order and any number of times: the row with the highest ``n`` stays."""
    await q.bulk("ballot.store", [msgspec.structs.asdict(row) for row in rows])


async def apply(q: Queries, changes: Sequence[PollChange]) -> None:
    """Store closings and deletions, of which the first stays, and raise the polls' ``seq``."""
    for change in changes:
        if change.kind in ("close", "delete"):
            await q.run(f"poll.{change.kind}", id=change.poll_id, at=change.at)
        if change.kind == "close":
            await commitments.note_close(q, change.poll_id, change.at)
    seqs: dict[str, int] = {}
    for change in changes:
        seqs[change.poll_id] = max(change.seq, seqs.get(change.poll_id, 0))
    await raise_seq(q, seqs)


async def raise_seq(q: Queries, seqs: Mapping[str, int]) -> None:
    """Poll ID -> seq, for all polls in one statement. Ordered, so that two transactions cannot deadlock."""
    if seqs:
        await q.run("poll.raise_seq", seqs=msgspec.json.encode(sorted(seqs.items())).decode())


async def has_ballots(q: Queries, poll_id: str) -> bool:
    return await q.one("ballot.exists", poll_id=poll_id) is not None


async def chosen(q: Queries, poll_id: str) -> list[tuple[list[str], int]]:
    """Option IDs, and how many voters chose exactly these. Empty ones are retractions."""
    return [(option_ids(row["choices"]), row["n"]) for row in await q.all("ballot.chosen", poll_id=poll_id)]


async def ballots_after(q: Queries, poll_id: str, voter_id: str, limit: int) -> list[BallotRow]:
    """A poll's ballots in chunks, ordered by voter: begin with an empty ``voter_id``."""
    rows = await q.all("ballot.after", poll_id=poll_id, voter_id=voter_id, limit=limit)
    ballots = []
    for row in rows:
        voter, n, id, choices, seq, epoch, cast_at, accepted, earlier = _ballot(row["ballot"])
        ballots.append(
            BallotRow(poll_id, voter, n, id, choices, seq, epoch, cast_at, bool(accepted), earlier)
        )
    return ballots


def _offset(row: dict[str, Any]) -> Offset:
    return Offset(**{**row, "last_id": LogPosition.parse(row["last_id"])})


async def offset(q: Queries, reader: str, partition: int) -> Offset | None:
    row = await q.one("offset.find", reader=reader, partition=partition)
    return None if row is None else _offset(row)


async def lock_offset(q: Queries, reader: str, partition: int) -> Offset | None:
    """Like ``offset``, in a transaction: the worker and the verifier wait until it ends."""
    row = await q.one("offset.lock", reader=reader, partition=partition)
    return None if row is None else _offset(row)


async def offsets(q: Queries, reader: str) -> list[Offset]:
    return [_offset(row) for row in await q.all("offset.all", reader=reader)]


async def advance(
    q: Queries,
    reader: str,
    partition: int,
    generation: int,
    old: LogPosition,
    new: LogPosition,
    entries: int = 0,
) -> bool:
    """Compare and set the offset. False if it is no longer ``old``, or the generation has changed."""
    matched = await q.run(
        "offset.advance",
        reader=reader,
        partition=partition,
        generation=generation,
        old_id=str(old),
        last_id=str(new),
    )
    if matched and entries:
        await q.run("reader.count", reader=reader, partition=partition, entries=entries)
    return matched == 1


async def fence(
    q: Queries, reader: str, partition: int, generation: int, last_id: LogPosition, fencing: str | None
) -> None:
    """``fencing``: run ID of the server whose fence is about to be written, none once it is written."""
    await q.run(
        "offset.fence",
        reader=reader,
        partition=partition,
        generation=generation,
        last_id=str(last_id),
        fencing=fencing,
    )


async def find_ballot(q: Queries, poll_id: str, voter_id: str) -> BallotRow | None:
    row = await q.one("ballot.find", poll_id=poll_id, voter_id=voter_id)
    return None if row is None else BallotRow(**{**row, "accepted": bool(row["accepted"])})


async def seqs(q: Queries, poll_ids: Sequence[str]) -> dict[str, int]:
    rows = await q.all("poll.seqs", ids=msgspec.json.encode(list(poll_ids)).decode())
    return {row["id"]: row["seq"] for row in rows}


async def oldest_dead_letters(q: Queries, after: str, limit: int) -> list[dict[str, Any]]:
    return await q.all("dead_letter.oldest", after=after, limit=limit)


async def delete_dead_letter(q: Queries, id: str) -> None:
    await q.run("dead_letter.delete", id=id)


async def take_lease(q: Queries, reader: str, partition: int, owner: str, now: int, until: int) -> bool:
    """Take a lease that is free, expired or one's own."""
    matched = await q.run("lease.take", reader=reader, partition=partition, owner=owner, now=now, until=until)
    return matched == 1


async def take_lease_from(
    q: Queries, reader: str, partition: int, holder: str, owner: str, until: int
) -> bool:
    """Take a lease from a worker that holds more than its share. It notices when it renews."""
    matched = await q.run(
        "lease.take_from", reader=reader, partition=partition, holder=holder, owner=owner, until=until
    )
    return matched == 1


async def renew_leases(q: Queries, reader: str, owner: str, until: int) -> int:
    return await q.run("lease.renew", reader=reader, owner=owner, until=until)


async def give_back_leases(q: Queries, reader: str, owner: str) -> None:
    await q.run("lease.give_back", reader=reader, owner=owner)


async def ballots_of_voter(q: Queries, voter_id: str, poll_id: str, limit: int) -> list[BallotRow]:
    """A voter's ballots in chunks, ordered by poll: begin with an empty ``poll_id``."""
    rows = await q.all("ballot.of_voter", voter_id=voter_id, poll_id=poll_id, limit=limit)
    return [BallotRow(**{**row, "accepted": bool(row["accepted"])}) for row in rows]


async def add_dead_letter(
    q: Queries,
    *,
    poll_id: str,
    partition: int,
    generation: int,
    entry_id: str,
    entry: str,
    error: str,
    created_at: int,
) -> None:
    """``entry``: the log entry in base64. ``poll_id``: empty if the entry names none."""
    await q.run(
        "dead_letter.insert",
        id=new_id(),
        poll_id=poll_id,
        partition=partition,
        generation=generation,
        entry_id=entry_id,
        entry=entry,
        error=error[:ERROR_LENGTH],
        created_at=created_at,
    )


async def dead_letters(q: Queries, poll_id: str, limit: int) -> list[dict[str, Any]]:
    """``id, poll_id, partition, generation, entry_id, entry, error, created_at``, in the order of the log."""
    return await q.all("dead_letter.of_poll", poll_id=poll_id, limit=limit)


async def count_dead_letters(q: Queries, poll_id: str) -> int:
    row = await q.one("dead_letter.count", poll_id=poll_id)
    return 0 if row is None else int(row["n"])


async def dead_letters_by_poll(q: Queries, limit: int = 1000) -> dict[str, int]:
    rows = await q.all("dead_letter.count_all", limit=limit)
    return {row["poll_id"]: row["n"] for row in rows}
