"""A difference that was planted in either store is found, and repaired from the ledger's ballots."""

import sqlite3
from contextlib import closing

import pytest

from app.repositories import ballots as model
from tests.recovery.site import Node, Site, received
from tests.recovery.test_emptied import some_votes

pytestmark = pytest.mark.anyio


async def found(node: Node, poll_id: str) -> bool:
    await node.drain()
    return not (await node.stores.recounter().compare(poll_id)).equal


async def test_a_wrong_count_in_redis_is_found_and_repaired(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(30))
        assert not await found(node, poll.id)
        before = await node.state(poll)
        counts = node.stores.keys.poll(poll.id)[1]
        await node.redis("HINCRBY", counts, poll.options[0].id, 5)
        await node.redis("HINCRBY", counts, "voters", -2)
        assert await found(node, poll.id)
        assert (await node.stores.recounter().repair(poll.id)).equal
        after = await node.state(poll)
        assert (after.counts, after.voters) == (before.counts, before.voters) and after.seq > before.seq
        assert not await found(node, poll.id)


async def test_a_poll_whose_lease_ran_out_is_compared_like_any_other(site: Site) -> None:
    """Until its rules are installed anew it counts as absent, but its ballots and counts are in Redis."""
    async with site.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(30))
        lease = await node.stores.ledger.lease(poll.id)
        key, counts, _ = node.stores.keys.poll(poll.id)
        await node.redis("HSET", key, "held_until", lease.now - 1)
        await node.drain()
        equal = await node.stores.recounter().compare(poll.id)
        assert equal.equal and equal.ledger == equal.sql
        lease = await node.stores.ledger.lease(poll.id)
        await node.redis("HINCRBY", counts, poll.options[0].id, 5)
        await node.redis("HSET", key, "held_until", lease.now - 1)
        assert await found(node, poll.id)
        assert (await node.stores.recounter().repair(poll.id)).equal


async def test_a_poll_that_redis_does_not_hold_is_not_loaded_to_be_compared(small: Site) -> None:
    async with small.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(3))
        await node.drain()
        await node.redis("DEL", *node.stores.keys.poll(poll.id))
        compared = await node.stores.recounter().compare(poll.id)
        assert compared.ledger is None and compared.equal
        assert not await node.held(poll)


async def test_rows_that_sql_lost_are_found_and_written_again(small: Site) -> None:
    async with small.open() as node:
        poll = await node.poll()
        await some_votes(node, poll, range(30))
        await node.drain()
        with closing(sqlite3.connect(small.sqlite_file, timeout=10)) as live, live:
            live.execute("DELETE FROM ballots WHERE voter_id IN ('v1', 'v3')")
        assert await found(node, poll.id)
        assert (await node.stores.recounter().repair(poll.id)).equal
        row = await model.find_ballot(node.stores.database, poll.id, "v3")
        assert row is not None and row.n == 2
        assert received(await node.vote(poll, "v3", "v3-1", 0)).repeated
