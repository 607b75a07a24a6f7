"""Which partitions a worker reads. A lease is a hint that saves work; compare-and-set of the offsets is what keeps it right."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from ..domain.log_position import LogPlace
from ..ports.database import Database, Queries
from ..repositories import ballots as model
from ..repositories.ballots import Offset

LEASE_MS: Final = 10_000
RENEW_SECONDS: Final = LEASE_MS / 3 / 1000
GIVE_BACK_SECONDS: Final = 2.0


async def take_free(q: Queries, reader: str, owner: str, now: int) -> set[int]:
    """Renew, and take everything that is free: for a reader of which one process does all. The partitions leased."""
    await model.renew_leases(q, reader, owner, now + LEASE_MS)
    mine = set()
    for offset in await model.offsets(q, reader):
        if offset.lease_owner == owner or (
            not _held(offset, now)
            and await model.take_lease(q, reader, offset.partition, owner, now, now + LEASE_MS)
        ):
            mine.add(offset.partition)
    return mine


async def take_share(q: Queries, reader: str, owner: str, now: int, partitions: int) -> dict[int, LogPlace]:
    """Renew, take what is free, and where that is less than a fair share take from whoever holds the most.

    Returns the partitions leased, and how far each is stored.
    """
    until = now + LEASE_MS
    await model.renew_leases(q, reader, owner, until)
    offsets = {o.partition: o for o in await model.offsets(q, reader)}
    mine = {p for p, o in offsets.items() if o.lease_owner == owner}
    held = {
        p: o.lease_owner
        for p, o in offsets.items()
        if p not in mine and o.lease_owner is not None and _held(o, now)
    }
    share, rest = divmod(partitions, 1 + len(set(held.values())))
    for partition in sorted(offsets.keys() - held.keys() - mine):
        if len(mine) < share + min(rest, 1) and await model.take_lease(
            q, reader, partition, owner, now, until
        ):
            mine.add(partition)
    counts = Counter(held.values())
    while len(mine) < share and counts:
        holder, most = counts.most_common(1)[0]
        if most <= len(mine) + 1:
            break
        partition = next(p for p, o in held.items() if o == holder)
        del held[partition]
        counts[holder] -= 1
        if await model.take_lease_from(q, reader, partition, holder, owner, until):
            mine.add(partition)
    return {p: LogPlace(offsets[p].generation, offsets[p].last_id) for p in sorted(mine)}


async def give_back(database: Database, reader: str, owner: str) -> None:
    """As far as that is possible at once: they run out by themselves."""
    with suppress(Exception):
        async with asyncio.timeout(GIVE_BACK_SECONDS):
            await model.give_back_leases(database, reader, owner)


def _held(offset: Offset, now: int) -> bool:
    return offset.lease_owner is not None and offset.lease_until is not None and offset.lease_until > now
