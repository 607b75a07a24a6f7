"""The queries of ``sql/queries/audit.sql``: what happened to accounts, and what operators did."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from ..domain.values import new_id
from ..ports.database import Queries

Event = Literal[
    "registered",
    "logged_in",
    "login_refused",
    "password_changed",
    "password_reset",
    "account_added",
    "account_deleted",
    "account_suspended",
    "account_resumed",
    "poll_deleted",
    "key_changed",
]


class Entry(Struct, frozen=True):
    """``at`` in ms since the epoch. ``detail``: ASCII; a network in place of an address, never a secret."""

    at: int
    event: Event
    user_id: str | None
    detail: str = ""


async def add(q: Queries, entries: Sequence[Entry]) -> None:
    await q.bulk("audit.insert", [{"id": new_id(), **structs.asdict(entry)} for entry in entries])


async def latest(q: Queries, limit: int) -> list[dict[str, Any]]:
    """``at, event, user_id, detail``, newest first."""
    return await q.all("audit.latest", limit=limit)
