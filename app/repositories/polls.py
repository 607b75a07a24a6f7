"""The queries of ``sql/queries/poll.sql``: the rules of polls, their options. Times in ms since the epoch."""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from ..domain.polls import Option, Rules
from ..ports.database import Queries, Value

# Above every character of an id.
_AFTER_ALL = "~"

_COLUMNS = ("paused", "revealed_at", "round", "previous_id", "deck_id")
_DEFAULTS = {
    field.name: field.default
    for field in msgspec.structs.fields(Rules)
    if not field.required and field.name not in _COLUMNS
}
"""The rules in the column ``rules``."""


async def find(q: Queries, poll_id: str) -> Rules | None:
    """The rules of a poll, also of a deleted one: see ``deleted_at``."""
    return next(iter(_rules(await q.all("poll.find", id=poll_id))), None)


async def lock(q: Queries, poll_id: str) -> Rules | None:
    """Like ``find``, in a transaction: other edits and loadings of the poll wait until it ends."""
    return await find(q, poll_id) if await q.one("poll.lock", id=poll_id) else None


async def find_many(q: Queries, poll_ids: Sequence[str]) -> list[Rules]:
    """In the order of ``poll_ids``; those that do not exist are left out."""
    if not poll_ids:
        return []
    rows = await q.all("poll.find_many", ids=msgspec.json.encode(list(poll_ids)).decode())
    found = {rules.id: rules for rules in _rules(rows)}
    return [found[poll_id] for poll_id in poll_ids if poll_id in found]


async def id_of_code(q: Queries, code: str, user_id: str | None) -> tuple[str, bool] | None:
    """The poll of a join code, and whether it is a draft. ``None`` if it is deleted, or a draft of another user."""
    row = await q.one("poll.id_of_code", code=code, user_id=user_id or "")
    return None if row is None else (str(row["id"]), bool(row["draft"]))


async def id_of_any_code(q: Queries, code: str) -> str | None:
    """The poll of a join code, a draft too."""
    row = await q.one("poll.id_of_any_code", code=code) if code.isascii() else None
    return None if row is None else str(row["id"])


async def find_by_key(q: Queries, owner_id: str, key: str) -> Rules | None:
    """The poll that ``owner_id`` made with this ``Idempotency-Key``."""
    row = await q.one("poll.id_of_key", owner_id=owner_id, request_key=key)
    return None if row is None else await find(q, row["id"])


async def insert(q: Queries, rules: Rules, request_key: str | None) -> None:
    """In a transaction. ``DuplicateKey`` where the code or the owner's request key is taken."""
    await q.run("poll.insert", request_key=request_key, **_columns(rules))
    await _insert_options(q, rules)


async def update(q: Queries, rules: Rules) -> None:
    """In a transaction: store everything that the owner may set, ``version`` and the options."""
    columns = _columns(rules)
    for name in ("code", "owner_id", "seq", "closed_at", "deleted_at", "created_at", "round", "previous_id"):
        del columns[name]
    await q.run("poll.update", **columns)
    await q.run("option.delete_of_poll", poll_id=rules.id)
    await _insert_options(q, rules)


async def users_of_images(q: Queries, images: Collection[str]) -> list[tuple[str, str]]:
    """Each image with each poll that shows it. Rounds of a poll share images."""
    rows = await q.all("option.users_of_images", images=msgspec.json.encode(sorted(images)).decode())
    return [(row["image"], row["poll_id"]) for row in rows]


async def forget_key(q: Queries, poll_id: str) -> None:
    await q.run("poll.forget_key", id=poll_id)


async def has_as_many(q: Queries, owner_id: str, most: int) -> bool:
    """Whether a user has ``most`` polls or more, deleted ones not counted."""
    return await q.one("poll.nth", owner_id=owner_id, skip=most - 1) is not None


async def page(q: Queries, owner_id: str, before_id: str | None, limit: int) -> list[Rules]:
    """An owner's polls, newest first, without deleted ones."""
    rows = await q.all("poll.page", owner_id=owner_id, before_id=before_id or _AFTER_ALL, limit=limit)
    return await find_many(q, [row["id"] for row in rows])


async def due_to_close(q: Queries, now: int, limit: int) -> list[str]:
    """Polls past their end that are not closed in SQL, latest first, without drafts and deleted ones."""
    return [row["id"] for row in await q.all("poll.due_to_close", now=now, limit=limit)]


async def poll_ids_after(q: Queries, poll_id: str, limit: int) -> list[str]:
    """All polls except deleted ones, in chunks. Start with an empty ``poll_id``."""
    return [row["id"] for row in await q.all("poll.ids_after", id=poll_id, limit=limit)]


async def _insert_options(q: Queries, rules: Rules) -> None:
    rows: list[dict[str, Value]] = [
        {
            "poll_id": rules.id,
            "id": option.id,
            "position": position,
            "label": option.label,
            "image": option.image,
            "correct": option.correct,
        }
        for position, option in enumerate(rules.options)
    ]
    await q.bulk("option.insert", rows)


def _columns(rules: Rules) -> dict[str, Value]:
    columns = msgspec.structs.asdict(rules)
    del columns["options"], columns["deck_id"]  # the deck's own queries set it
    later = {name: columns.pop(name) for name in _DEFAULTS}
    columns["rules"] = msgspec.json.encode(
        {name: value for name, value in later.items() if value != _DEFAULTS[name]}
    ).decode()
    return columns


def _rules(rows: list[dict[str, Any]]) -> list[Rules]:
    """Rows of one poll are adjacent, one per option, in the order of the options."""
    return [_one(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]


def _one(rows: Sequence[Mapping[str, Any]]) -> Rules:
    options = [
        Option(row["option_id"], row["label"], row["image"], bool(row["correct"]))
        for row in rows
        if row["option_id"] is not None
    ]
    later = msgspec.json.decode(rows[0]["rules"] or "{}")
    # Not strict: booleans are numbers in SQL.
    return msgspec.convert({**rows[0], **later, "options": options}, Rules, strict=False)
