"""SQL put back to an older backup is made whole again from the ledger: rows, closings, deletions, the offset."""

import asyncio

import pytest

from app.domain.errors import PollroomError
from app.repositories import ballots as votes
from app.repositories import polls
from tests.recovery.backup import backup
from tests.recovery.site import Node, Site, received, running, until
from tests.recovery.test_emptied import all_repeat, equal, some_votes
from tests.recovery.test_unloading import unload

pytestmark = pytest.mark.anyio


async def is_whole(node: Node, *of: polls.Rules) -> bool:
    return all([await node.tally(poll) == await node.in_sql(poll) for poll in of])


@pytest.mark.parametrize("running_on", [False, True], ids=["worker restarted", "worker runs on"])
async def test_rows_closings_and_deletions_come_back(site: Site, running_on: bool) -> None:
    async with site.open() as node:
        poll, ended, gone = await node.poll(), await node.poll(), await node.poll()
        said = await some_votes(node, poll, range(30))
        await some_votes(node, ended, range(10))
        await some_votes(node, gone, range(10))
        await node.drain()
        put_back = await backup(site)
        said |= await some_votes(node, poll, range(20, 45))
        closed = await node.stores.ledger.close(ended.id)
        await node.stores.ledger.delete(gone.id)
        worker = node.stores.worker()
        async with running(worker):
            await until(lambda: _stored(node, poll), "rows")
            if running_on:
                await put_back()
                await until(lambda: _stored(node, poll), "rows", 15)
        if not running_on:
            await put_back()
            assert not await _stored(node, poll)
        said |= await some_votes(node, poll, range(45, 50))
        async with running(node.stores.worker()):
            await until(lambda: is_whole(node, poll, ended), "rows", 15)
        await equal(node, poll)
        assert (await node.offset()).generation == 1
        standing, deleted = (
            await polls.find(node.stores.database, ended.id),
            await polls.find(node.stores.database, gone.id),
        )
        assert standing is not None and (standing.closed_at, standing.closes_at) == (closed.closed,) * 2
        assert deleted is not None and deleted.deleted_at is not None
        async with running(node.stores.worker()):
            await unload(node, poll, ended)
        await all_repeat(node, poll, said)
        assert await node.vote(ended, "new", "one", 0) == "POLL_CLOSED"
        assert (await node.state(ended)).closed == closed.closed


async def _stored(node: Node, poll: polls.Rules) -> bool:
    rows = await votes.ballots_after(node.stores.database, poll.id, "", 1000)
    return {"v31", "v44"} <= {row.voter_id for row in rows}


@pytest.mark.parametrize("restarted", [False, True], ids=["same processes", "new processes"])
async def test_a_backup_of_an_earlier_generation(site: Site, restarted: bool) -> None:
    async with site.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(10))
        await node.drain()
        put_back = await backup(site)
        said = await some_votes(node, poll, range(10, 20))
        for _ in range(2):
            await node.drain()
            await node.redis("FLUSHALL")
            await until(lambda: _reads(node, poll), "a read")
        said |= await some_votes(node, poll, range(20, 30))
        before = await node.state(poll)
        assert before.epoch == 3
        await put_back()
        if not restarted:
            async with running(node.stores.worker()):
                said |= await some_votes(node, poll, range(30, 40))
                await until(lambda: is_whole(node, poll), "rows", 15)
            assert (await node.state(poll)).order > before.order
    if restarted:
        async with site.open() as node:
            assert (await node.state(poll)).order >= before.order
            said |= await some_votes(node, poll, range(30, 40))
            async with running(node.stores.worker()):
                await until(lambda: is_whole(node, poll), "rows", 15)
    async with site.open() as node:
        await all_repeat(node, poll, said)
        await equal(node, poll)
        assert (await node.offset()).generation >= 3


async def _reads(node: Node, poll: polls.Rules) -> bool:
    try:
        await node.state(poll)
    except PollroomError:
        return False
    return True


async def test_a_backup_of_an_earlier_generation_and_a_restart_of_redis(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(10))
        await node.drain()
        put_back = await backup(site)
        await node.redis("FLUSHALL")
        await until(lambda: _reads(node, poll), "a read")
        said = await some_votes(node, poll, range(10, 30))
        await asyncio.gather(put_back())
        site.redis.kill()
        site.redis.start()
        received(await until(lambda: _votes(node, poll), "a vote"))
        async with running(node.stores.worker()):
            await until(lambda: is_whole(node, poll), "rows", 15)
        await all_repeat(node, poll, said)
        await equal(node, poll)


async def _votes(node: Node, poll: polls.Rules):  # type: ignore[no-untyped-def]
    answer = await node.vote(poll, "last", "one", 0)
    return None if answer == "UNAVAILABLE" else answer
