"""The queries of ``sql/queries/commitment.sql``: commitments of verifiable polls, the rows of their trees, public keys."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..domain.commitments import Commitment
from ..ports.database import Queries, Value

MOST_KEYS: Final = 1000
_STEP: Final = 50
"""Rows that one statement deletes: about 5 MB."""
_HASH: Final = 32
_VERIFIABLE: Final = '%"verifiable":true%'
"""In the column ``rules`` of a poll, which is JSON without spaces."""

_ballot = msgspec.json.Decoder(tuple[str, str, str]).decode


class Asked(Struct, frozen=True):
    """The question and the options (id and label) that the leaves commit to."""

    question: str
    options: tuple[tuple[str, str], ...]


class Stored(Struct, frozen=True):
    """A finished commitment. ``build``: names the rows of its tree. ``published_at``: none until the ledger has it."""

    poll_id: str
    build: str
    commitment: Commitment
    terms: str
    asked: Asked
    checkpoint: str
    published_at: int | None


class Row(Struct, frozen=True):
    """Some nodes of a tree. ``ballots``: the lines of CSV of leaves, otherwise empty."""

    level: int
    position: int
    nodes: list[bytes]
    ballots: str = ""


async def note_close(q: Queries, poll_id: str, at: int) -> None:
    """In the transaction that stores a closing. Only a verifiable poll is noted."""
    await q.run("commitment.note_close", id=poll_id, at=at, pattern=_VERIFIABLE)


async def due(q: Queries, limit: int) -> list[str]:
    """Closed verifiable polls whose commitment is not published, the latest first."""
    return [row["poll_id"] for row in await q.all("commitment.due", limit=limit)]


async def find(q: Queries, poll_id: str) -> Stored | None:
    """None until it is finished."""
    row = await q.one("commitment.find", poll_id=poll_id)
    if row is None or row["root"] is None:
        return None
    return Stored(
        poll_id,
        row["build"],
        Commitment(row["size"], row["root"]),
        row["terms"],
        msgspec.json.decode(row["asked"], type=Asked),
        row["checkpoint"],
        row["published_at"],
    )


async def built(q: Queries, poll_ids: Sequence[str]) -> dict[str, Commitment]:
    if not poll_ids:
        return {}
    rows = await q.all("commitment.built", ids=msgspec.json.encode(list(poll_ids)).decode())
    return {row["poll_id"]: Commitment(row["size"], row["root"]) for row in rows}


async def standing_ballots(q: Queries, poll_id: str, voter_id: str, limit: int) -> list[tuple[str, str, str]]:
    """Voter, ballot id and option ids joined by commas, in chunks, ordered by voter. Without retracted ballots."""
    rows = await q.all("commitment.ballots", poll_id=poll_id, voter_id=voter_id, limit=limit)
    return [_ballot(row["ballot"]) for row in rows]


async def insert_rows(q: Queries, poll_id: str, build: str, rows: Iterable[Row]) -> None:
    values: list[dict[str, Value]] = [
        {
            "build": build,
            "level": row.level,
            "position": row.position,
            "poll_id": poll_id,
            "last_leaf": None if row.level else row.nodes[-1].hex(),
            "nodes": b"".join(row.nodes).hex(),
            "ballots": row.ballots,
        }
        for row in rows
    ]
    await q.bulk("commitment.insert_chunk", values)


async def finish(q: Queries, stored: Stored, rows: int) -> bool:
    """In a transaction that locks the poll. False if another tree was first, or if some of the ``rows`` are gone."""
    count = await q.one("commitment.count_chunks", build=stored.build)
    if count is None or count["n"] != rows:
        return False
    matched = await q.run(
        "commitment.finish",
        poll_id=stored.poll_id,
        build=stored.build,
        size=stored.commitment.size,
        root=stored.commitment.root,
        terms=stored.terms,
        asked=msgspec.json.encode(stored.asked).decode(),
        checkpoint=stored.checkpoint,
    )
    return matched == 1


async def mark_published(q: Queries, poll_id: str, at: int) -> None:
    await q.run("commitment.published", poll_id=poll_id, at=at)


async def row_of_leaf(q: Queries, build: str, leaf: str) -> tuple[int, list[bytes]] | None:
    """Position and nodes of the first row that may have the leaf (hex); none if all leaves are lower."""
    row = await q.one("commitment.row_of_leaf", build=build, leaf=leaf)
    return None if row is None else (row["position"], _nodes(row))


async def nodes(q: Queries, build: str, level: int, position: int) -> list[bytes] | None:
    row = await q.one("commitment.row", build=build, level=level, position=position)
    return None if row is None else _nodes(row)


async def ballots_of_row(q: Queries, build: str, position: int) -> str | None:
    row = await q.one("commitment.ballots_of_row", build=build, position=position)
    return None if row is None else str(row["ballots"])


async def remove_other_rows(q: Queries, poll_id: str, build: str = "") -> bool:
    """In a transaction that locks the poll: some rows of trees other than ``build``; whether there were any."""
    row = await q.one("commitment.other_build", poll_id=poll_id, build=build)
    if row is None:
        return False
    await q.run("commitment.delete_chunks", build=row["build"], before=row["first"] + _STEP)
    return True


async def remove(q: Queries, poll_id: str) -> None:
    await q.run("commitment.delete", poll_id=poll_id)


async def keep_key(q: Queries, verifier_key: str, since: int) -> None:
    key_id = sha256(verifier_key.encode()).hexdigest()
    await q.run("commitment.keep_key", id=key_id, verifier_key=verifier_key, since=since)


async def keys(q: Queries) -> list[str]:
    """Every public key that ever signed, the newest first."""
    return [row["verifier_key"] for row in await q.all("commitment.keys", limit=MOST_KEYS)]


def _nodes(row: dict[str, Any]) -> list[bytes]:
    data = bytes.fromhex(row["nodes"])
    return [data[start : start + _HASH] for start in range(0, len(data), _HASH)]
