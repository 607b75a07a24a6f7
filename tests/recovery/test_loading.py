"""A large poll that Redis does not hold comes back in chunks, while other polls vote on."""

import asyncio
import time

import pytest

from app.domain.ballots import BallotRow
from app.domain.polls import Rules
from app.ports.ledger import TryAgain
from app.repositories import ballots as model
from tests.recovery.site import Node, Site, ballot, received, until

pytestmark = pytest.mark.anyio

BALLOTS = 50_000
SLOWEST_SECONDS = 1.0
"""Of a vote elsewhere, while a load and the tests of others take the processors."""


async def fill(node: Node, poll: Rules, count: int) -> None:
    """Ballots as the worker would have stored them, by voters v0, v1, …"""
    options = [option.id for option in poll.options]
    for start in range(0, count, 5000):
        rows = [
            BallotRow(poll.id, f"v{n}", 1, "one", options[n % 3], n + 2, 1, 1_700_000_000_000 + n, True, "[]")
            for n in range(start, min(count, start + 5000))
        ]
        async with node.stores.database.transaction() as queries:
            await model.store(queries, rows)
            await model.raise_seq(queries, {poll.id: rows[-1].seq})


async def test_a_large_poll_is_loaded_while_others_vote_on(site: Site) -> None:
    site.partitions = 4
    async with site.open() as node, site.open() as other:
        large, small = await node.poll(), await node.poll()
        await fill(node, large, BALLOTS)
        await node.redis("DEL", *node.stores.keys.poll(large.id))
        loading = asyncio.create_task(node.state(large))
        await until(lambda: node.held(large), "a hold")  # whoever comes second gives up after 3 s
        # Nobody counts a vote beside those that are on their way.
        early = asyncio.create_task(other.cast(ballot(large, "early", "one", 0)))
        slowest, n, began_loading = 0.0, 0, time.monotonic()
        while not loading.done():
            began = time.monotonic()
            received(await other.vote(small, f"w{n}", "one", n % 3))
            slowest, n = max(slowest, time.monotonic() - began), n + 1
        state = await loading
        print(
            f"{BALLOTS} ballots loaded in {time.monotonic() - began_loading:.1f} s,"
            f" {n} votes meanwhile, the slowest {slowest * 1000:.0f} ms"
        )
        assert n > 5 and slowest < SLOWEST_SECONDS
        assert (await early)[0] == "UNAVAILABLE" or not received((await early)[0]).repeated
        assert state.voters in (BALLOTS, BALLOTS + 1)
        assert received(await other.vote(large, "v7", "one", 1)).repeated
        assert not received(await other.vote(large, "v7", "two", 2)).repeated
        await node.drain()
        for poll in (large, small):
            assert await node.tally(poll) == await node.in_sql(poll)


async def test_a_load_that_dies_is_begun_anew_by_another(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        await fill(node, poll, 6000)
        await node.redis("DEL", *node.stores.keys.poll(poll.id))
        lease = await node.stores.ledger.lease(poll.id)
        rows = await model.ballots_after(node.stores.database, poll.id, "", 2000)
        await node.stores.ledger.load_ballots(lease, poll, rows)
        began = time.monotonic()
        while time.monotonic() - began < 15:
            answer = await node.vote(poll, "new", "one", 0)
            if answer != "UNAVAILABLE":
                break
        received(answer)
        assert (await node.state(poll)).voters == 6001
        await node.drain()
        assert await node.tally(poll) == await node.in_sql(poll)


async def test_a_load_that_lost_its_hold_leaves_nothing_running(site: Site) -> None:
    """The chunk after the one that was refused is being read."""
    async with site.open() as node:
        poll = await node.poll()
        await fill(node, poll, 6000)
        await node.redis("DEL", *node.stores.keys.poll(poll.id))
        lease = await node.stores.ledger.lease(poll.id)
        await node.stores.ledger.release(lease)
        before = asyncio.all_tasks()
        with pytest.raises(TryAgain):
            await node.stores.editor._load_ballots(lease, poll)
        assert asyncio.all_tasks() <= before


async def test_ballots_are_read_as_they_were_stored(site: Site) -> None:
    async with site.open() as node:
        rows = [
            BallotRow("p", "a", 1, "one", "o1,o2", 2**53 + 1, 2**40, 1_700_000_000_123, True, "[]"),
            BallotRow("p", "b", 2, "-_", "", 3, 1, 0, False, '[["x", true, [], 1, 2]]'),
            BallotRow(
                "p", "c", 3, "two", 'é"\\/\t\u2028漢🗳', 4, 1, 5, True, '["é\\u00e9🗳\\"\\\\\\n", {"a": null}]'
            ),
        ]
        await model.store(node.stores.database, rows)
        assert await model.ballots_after(node.stores.database, "p", "", 10) == rows
        assert await model.ballots_after(node.stores.database, "p", "b", 10) == rows[2:]
