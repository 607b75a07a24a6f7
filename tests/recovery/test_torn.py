"""Redis ended in the middle of writing a batch to its log file.

On its next start it leaves the batch's beginning in the file, and without care plays it back at the start after that, between
what was acknowledged since (github.com/valkey-io/valkey/pull/4342; Redis 7.0.15 does, too).
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.ledger.fences import RedisFences
from tests.recovery.site import Site, ballot, received, repeats
from tools.servers import RedisServer

pytestmark = pytest.mark.anyio


def log_file(folder: Path) -> Path:
    """Of Redis 7, or of an older one."""
    return next(iter([*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]))


@pytest.mark.parametrize("missing", [1, 14, 15, 60, 200, 300])
async def test_half_a_batch_in_the_log_file_never_counts(site: Site, missing: int) -> None:
    async with site.open() as node:
        poll, other = await node.poll(), await node.poll()
        before = [
            received(one)
            for one in await node.cast(ballot(poll, "v1", "one", 0), ballot(other, "v1", "one", 0))
        ]
        lost = ballot(poll, "v2", "lost", 1), ballot(other, "v2", "lost", 1)
        await node.cast(*lost)
    site.redis.kill()
    file = log_file(site.redis.folder)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - missing)
    site.redis.start()
    async with site.open() as node:
        after = [received(one) for one in await node.cast(*lost, ballot(poll, "v3", "three", 2))]
    site.redis.kill()
    site.redis.start()
    async with site.open() as node:
        repeats(await node.vote(poll, "v1", "one", 0), before[0])
        for sent, first in zip([*lost, ballot(poll, "v3", "three", 2)], after, strict=True):
            repeats((await node.cast(sent))[0], first)
        await node.drain()
        for one in (poll, other):
            assert await node.tally(one) == await node.in_sql(one)
        seqs = await node.stores.database.all("ballot.after", poll_id=poll.id, voter_id="", limit=10)
        assert {one.seq for one in after if one.poll_id == poll.id} <= {
            msgspec.json.decode(row["ballot"])[4] for row in seqs
        }


async def test_all_that_settle_a_server_at_once_wait_for_its_log_file(own_redis: RedisServer) -> None:
    client, keys = connect(own_redis.url), Keys(1)
    try:
        await client.set("some", "key")
        await client.config_set(
            "rdb-key-save-delay", 300_000
        )  # microseconds a key: the rewriting takes a while

        async def settled() -> bool:
            await RedisFences(client, keys).rewrite_aof(0)
            info = await client.info("persistence")
            return bool(info["aof_last_rewrite_time_sec"] >= 0)

        await asyncio.gather(
            *(client.ping() for _ in range(5))
        )  # a connection for each, so that all ask at once
        assert all(await asyncio.gather(*(settled() for _ in range(5))))
    finally:
        await client.aclose()
