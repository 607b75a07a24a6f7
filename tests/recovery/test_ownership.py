"""A Redis and a database know that they belong together, and a Redis that was replaced loses no acknowledged vote."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.adapters.redis.connection.client import connect
from app.adapters.redis.ledger.fences import RedisFences
from app.adapters.redis.ledger.poll_store import RedisPollStore
from app.adapters.redis.ledger.vote_log import RedisVoteLog
from app.bootstrap.startup import StartError
from app.domain.layout import LAYOUT
from app.repositories.ledger_partitions import identity
from app.services.recovery.ledger_watch import LedgerWatch
from app.services.recovery.ownership import Ownership
from app.services.recovery.partition_verifier import PartitionVerifier
from tests.recovery.site import Node, Site, ballot, received, repeats, until
from tools.servers import RedisServer, redis_server

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watching(watch: LedgerWatch) -> AsyncIterator[LedgerWatch]:
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def replacing(node: Node, other: RedisServer) -> AsyncIterator[LedgerWatch]:
    """Another Redis takes over the database as an earlier version did it: without asking who renews."""
    stores, client = node.stores, connect(other.url, timeout=5)
    fences = RedisFences(client, stores.keys)
    ownership = Ownership(stores.database, silence_seconds=0)
    verifier = PartitionVerifier(
        stores.database,
        fences,
        RedisVoteLog(client, stores.keys),
        RedisPollStore(client, stores.keys),
        ownership,
    )

    async def verify(partition: int) -> None:
        await verifier.verify(partition)

    try:
        await verify(0)
        yield LedgerWatch(stores.database, fences, ownership, verify)
    finally:
        await client.aclose()


async def test_a_redis_that_was_replaced_stops_stores_its_log_and_returns_once_the_other_one_is_gone(
    site: Site, tmp_path: Path
) -> None:
    site.silence_seconds = 5
    async with site.open() as node, watching(node.stores.ledger_watch) as watch:
        poll = await node.poll()
        before = received(await node.vote(poll, "ann", "a", 0))
        with redis_server(tmp_path / "other") as other:
            async with replacing(node, other) as theirs, watching(theirs):
                after = received(await node.vote(poll, "ben", "b", 1))

                async def noticed() -> bool:
                    return watch.problem is not None and "another Redis" in watch.problem

                await until(noticed, "the other Redis is noticed", 5)
                assert await node.vote(poll, "cem", "c", 1) == "UNAVAILABLE"
                rows = await node.in_sql(poll)
                assert rows[0] == 2  # acknowledged, and not in the log of the new generation

        async def accepted() -> bool:
            return watch.problem is None

        await until(accepted, "this Redis is used again", 15)
        repeats(await node.vote(poll, "ann", "a", 0), before)
        repeats(await node.vote(poll, "ben", "b", 1), after)
        received(await node.vote(poll, "cem", "c", 1))
        await node.drain()
        assert await node.tally(poll) == await node.in_sql(poll)
        assert (await node.tally(poll))[0] == 3
        assert (await node.state(poll)).epoch == 3


async def test_a_redis_of_another_deployment_is_refused(small: Site, tmp_path: Path) -> None:
    async with small.open() as node:
        poll = await node.poll()
        receipt = received(await node.vote(poll, "ann", "a", 0))
    other = Site(tmp_path / "other", small.redis, None)
    with pytest.raises(StartError, match="belongs to another deployment"):
        async with other.open():
            pass
    async with small.open() as node:
        repeats(await node.vote(poll, "ann", "a", 0), receipt)


async def test_a_second_empty_redis_is_refused_while_the_first_one_is_used(
    site: Site, tmp_path: Path
) -> None:
    async with site.open() as node, watching(node.stores.ledger_watch):
        poll = await node.poll()
        received(await node.vote(poll, "ann", "a", 0))
        with redis_server(tmp_path / "empty") as empty:
            wrong = Site(site.folder, empty, site.database_url, silence_seconds=10)
            with pytest.raises(StartError, match="other processes use this database with another Redis"):
                async with wrong.open():
                    pass
        received(await node.vote(poll, "ben", "b", 0))
        await node.drain()
        assert (await node.in_sql(poll))[0] == 2
        assert (await node.offset()).generation == 1


async def test_a_later_layout_is_refused_in_sql_and_in_redis(small: Site) -> None:
    async with small.open() as node:
        fence = node.stores.keys.fence(0)
        await node.redis("HSET", fence, "layout", LAYOUT + 1)
    with pytest.raises(StartError, match="a later version"):
        async with small.open():
            pass
    small.redis.kill()
    small.redis.start()
    with pytest.raises(StartError, match="a later version"):
        async with small.open():
            pass


async def test_data_of_an_earlier_version_takes_the_id_of_the_deployment(small: Site) -> None:
    async with small.open() as node:
        fence = node.stores.keys.fence(0)
        poll = await node.poll()
        await node.cast(ballot(poll, "ann", "a", 0))
        await node.redis("HDEL", fence, "ledger", "layout")
    async with small.open() as node:
        ours = (await identity(node.stores.database)).id
        assert await node.redis("HGET", fence, "ledger") == ours.encode()
        assert (await node.state(poll)).epoch == 1
