"""The queries of ``sql/queries/deck.sql``."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from ..domain.decks import MAX_POLLS, Deck, Place, StoredPoll
from ..ports.database import Queries

_AFTER_ALL = "~"


async def code_taken(q: Queries, code: str) -> bool:
    """Whether a poll has this code: polls and decks share them."""
    return await q.one("deck.poll_of_code", code=code) is not None


async def insert(q: Queries, deck: Deck, request_key: str | None) -> None:
    """In a transaction. ``DuplicateKey`` where the code or the owner's request key is taken."""
    await q.run(
        "deck.insert",
        id=deck.id,
        code=deck.code,
        owner_id=deck.owner_id,
        request_key=request_key,
        title=deck.title,
        created_at=deck.created_at,
    )


async def find(q: Queries, deck_id: str) -> Deck | None:
    return next(iter(_decks(await q.all("deck.find", id=deck_id))), None)


async def find_many(q: Queries, deck_ids: Sequence[str]) -> dict[str, Deck]:
    rows = await q.all("deck.find_many", ids=_json(deck_ids)) if deck_ids else []
    return {deck.id: deck for deck in _decks(rows)}


async def versions(q: Queries, deck_ids: Sequence[str]) -> dict[str, int]:
    """Of those decks that exist; 0 for one whose move is not finished."""
    rows = await q.all("deck.versions", ids=_json(deck_ids)) if deck_ids else []
    return {row["id"]: row["version"] if row["moving_since"] is None else 0 for row in rows}


async def lock(q: Queries, deck_id: str) -> Deck | None:
    """Like ``find``, in a transaction: other changes of the deck wait until it ends."""
    return await find(q, deck_id) if await q.one("deck.lock", id=deck_id) else None


async def has_as_many(q: Queries, owner_id: str, most: int) -> bool:
    """Whether a user has ``most`` decks or more, deleted ones not counted."""
    return await q.one("deck.nth", owner_id=owner_id, skip=most - 1) is not None


async def id_of_code(q: Queries, code: str) -> str | None:
    row = await q.one("deck.id_of_code", code=code)
    return None if row is None else str(row["id"])


async def find_by_key(q: Queries, owner_id: str, key: str) -> Deck | None:
    row = await q.one("deck.id_of_key", owner_id=owner_id, request_key=key)
    return None if row is None else await find(q, row["id"])


async def forget_key(q: Queries, deck_id: str) -> None:
    await q.run("deck.forget_key", id=deck_id)


async def page(q: Queries, owner_id: str, before_id: str | None, limit: int) -> list[Deck]:
    """An owner's decks, newest first."""
    rows = await q.all("deck.page", owner_id=owner_id, before_id=before_id or _AFTER_ALL, limit=limit)
    found = await find_many(q, [row["id"] for row in rows])
    return [found[row["id"]] for row in rows if row["id"] in found]


async def rename(q: Queries, deck_id: str, title: str) -> None:
    await q.run("deck.rename", id=deck_id, title=title)


async def place(q: Queries, deck: Deck, poll_ids: Sequence[str]) -> bool:
    """In a transaction: these polls in this order. False if one is in another deck by now, or deleted."""
    for poll_id in sorted(set(deck.poll_ids) - set(poll_ids)):
        await release(q, deck.id, poll_id)
    before = {poll_id: position for position, poll_id in enumerate(deck.poll_ids)}
    for poll_id, position in sorted((poll_id, position) for position, poll_id in enumerate(poll_ids)):
        if before.get(poll_id) != position and not await q.run(
            "deck.take", id=deck.id, poll_id=poll_id, position=position
        ):
            return False
    return True


async def insert_after(q: Queries, deck_id: str, poll_id: str, new_id: str) -> None:
    """In a transaction: ``new_id`` stands right after ``poll_id``; nowhere if the deck has ended or is full."""
    deck = await lock(q, deck_id)
    if deck is None or deck.ended_at or poll_id not in deck.poll_ids or len(deck.places) >= MAX_POLLS:
        return
    ids = deck.poll_ids
    ids.insert(ids.index(poll_id) + 1, new_id)
    await place(q, deck, ids)
    await rearranged(q, deck.id, deck.current_id)


async def rearranged(q: Queries, deck_id: str, current_id: str | None) -> None:
    await q.run("deck.rearranged", id=deck_id, current_id=current_id)


async def release(q: Queries, deck_id: str, poll_id: str) -> int:
    return await q.run("deck.release_poll", id=deck_id, poll_id=poll_id)


async def move(
    q: Queries,
    deck: Deck,
    current_id: str | None,
    *,
    closes: bool,
    opens: bool,
    now: int,
    ends: bool = False,
) -> bool:
    """In a transaction. False where the deck is not what it was, or the poll is no longer in it."""
    moved = await q.run(
        "deck.move",
        id=deck.id,
        version=deck.version,
        current_id=current_id,
        move_from=deck.current_id,
        closes=closes,
        opens=opens,
        now=now,
        ended_at=now if ends else None,
    )
    if not moved or current_id is None or ends:
        return bool(moved)
    return bool(await q.run("deck.show", id=deck.id, poll_id=current_id))


async def moved(q: Queries, deck: Deck) -> None:
    await q.run("deck.moved", id=deck.id, version=deck.version)


async def unfinished(q: Queries, before: int, limit: int) -> list[str]:
    return [row["id"] for row in await q.all("deck.unfinished", before=before, limit=limit)]


async def delete(q: Queries, deck_id: str) -> None:
    """In a transaction."""
    await q.run("deck.release", id=deck_id)
    await q.run("deck.delete", id=deck_id)


async def owners_of_polls(q: Queries, poll_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Owner and deck of each poll that exists."""
    rows = await q.all("deck.owners_of_polls", ids=_json(poll_ids)) if poll_ids else []
    return {row["id"]: (row["owner_id"], row["deck_id"]) for row in rows}


async def decks_of_polls(q: Queries, poll_ids: Sequence[str]) -> dict[str, str]:
    rows = await q.all("deck.of_polls", ids=_json(poll_ids)) if poll_ids else []
    return {row["id"]: row["deck_id"] for row in rows}


async def questions(q: Queries, poll_ids: Sequence[str]) -> list[StoredPoll]:
    """What a deck shows of these polls, in no order."""
    rows = await q.all("deck.questions", ids=_json(poll_ids)) if poll_ids else []
    return [msgspec.convert(row, StoredPoll, strict=False) for row in rows]


def _json(ids: Sequence[str]) -> str:
    return msgspec.json.encode(list(ids)).decode()


def _decks(rows: list[dict[str, Any]]) -> list[Deck]:
    return [_one(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]


def _one(rows: Sequence[Mapping[str, Any]]) -> Deck:
    places = [Place(row["poll_id"], bool(row["shown"])) for row in rows if row["poll_id"] is not None]
    return msgspec.convert({**rows[0], "places": places}, Deck, strict=False)
