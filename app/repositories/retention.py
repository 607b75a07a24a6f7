"""The queries of ``sql/queries/retention.sql``: what is forgotten after ``RETENTION_DAYS``. Each call is one small step."""

import secrets
from typing import Any

from ..domain.polls import Rules
from ..ports.database import Queries
from . import commitments
from .users import delete_refresh_tokens


async def closed_polls(q: Queries, before: int, limit: int) -> list[str]:
    """Polls that closed before a time and whose ballots still have their voters."""
    return [row["id"] for row in await q.all("retention.polls", before=before, limit=limit)]


async def anonymize_chunk(q: Queries, rules: Rules, limit: int) -> int:
    """In a transaction that locks the poll: how many ballots were left to do before this step.

    Counts stay. Retracted ballots go. Ballot ids stay in verifiable polls, whose leaves they are part of.
    """
    rows = await q.all("retention.ballots", poll_id=rules.id, limit=limit)
    if not rows:
        return 0
    kept = [_without_voter(row, rules) for row in rows if row["choices"]]
    if kept:
        await q.bulk("retention.insert_ballot", kept)
    await q.run("retention.delete_ballots", poll_id=rules.id, last=rows[-1]["voter_id"])
    return len(rows)


def _without_voter(row: dict[str, Any], rules: Rules) -> dict[str, Any]:
    voter_id = f"~{secrets.token_urlsafe(15)}"
    ballot_id = row["ballot_id"] if rules.verifiable else voter_id[1:]
    return {
        **row,
        "poll_id": rules.id,
        "voter_id": voter_id,
        "n": 1,
        "ballot_id": ballot_id,
        "cast_at": rules.closed_at or row["cast_at"],
        "earlier": "[]",
    }


async def mark_anonymized(q: Queries, poll_id: str, at: int) -> None:
    await q.run("retention.anonymized", id=poll_id, at=at)


async def deleted_polls(q: Queries, before: int, limit: int) -> list[str]:
    return [row["id"] for row in await q.all("retention.deleted_polls", before=before, limit=limit)]


async def remove_ballots(q: Queries, poll_id: str, limit: int) -> bool:
    """In a transaction: whether there were any."""
    row = await q.one("retention.last_of_chunk", poll_id=poll_id, limit=limit)
    if row is None or row["last"] is None:
        return False
    await q.run("retention.delete_chunk", poll_id=poll_id, last=row["last"])
    return True


async def remove_poll(q: Queries, poll_id: str) -> None:
    """In a transaction, once its ballots are removed."""
    await q.run("option.delete_of_poll", poll_id=poll_id)
    await q.run("retention.delete_relayed", poll_id=poll_id)
    await q.run("retention.delete_dead_letters", poll_id=poll_id)
    await commitments.remove(q, poll_id)
    await q.run("retention.delete_poll", poll_id=poll_id)


async def remove_guests(q: Queries, before: int, limit: int) -> int:
    """In a transaction: guests without a session; how many."""
    rows = await q.all("retention.guests", before=before, limit=limit)
    for row in rows:
        await q.run("retention.delete_user", id=row["id"])
    return len(rows)


async def remove_ended_sessions(q: Queries, before: int, limit: int) -> int:
    """In a transaction: sessions that were ended before a time, with their refresh tokens; how many."""
    rows = await q.all("retention.ended_sessions", before=before, limit=limit)
    for row in rows:
        await delete_refresh_tokens(q, row["id"])
        await q.run("session.delete", id=row["id"])
    return len(rows)


async def remove_audit(q: Queries, before: int, limit: int) -> int:
    """In a transaction: old lines of the audit log; how many."""
    row = await q.one("retention.last_audit", before=before, limit=limit)
    if row is None or row["last"] is None:
        return 0
    return await q.run("retention.delete_audit", last=row["last"], before=before)
