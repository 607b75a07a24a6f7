"""A poll that rests is unloaded; the next vote or read brings it back with all of its past."""

import time

import pytest

from app.repositories import ballots as model
from app.services.polls.eviction import Eviction
from tests.recovery.site import Node, Site, ballot, received, repeats, until

pytestmark = pytest.mark.anyio


async def unload(node: Node, *polls) -> None:
    """By rounds as they come, as the process does it."""
    unloader = Eviction(node.stores.database, node.stores.poll_store, 1)

    async def gone() -> bool:
        await unloader.round()
        return not any([await node.held(poll) for poll in polls])

    await until(gone, "unloaded")


async def test_a_past_survives_unloading_and_loading(site: Site) -> None:
    async with site.open(worker=True) as node:
        poll = await node.poll()
        first = await node.vote(poll, "ann", "a1", 0)
        second = await node.vote(poll, "ann", "a2", 1)
        third = await node.retract(poll, "ann", "a3")
        bob = await node.vote(poll, "bob", "b1", 2)
        cat = await node.retract(poll, "cat", "c1")
        before = await node.state(poll)
        await unload(node, poll)
        repeats(await node.vote(poll, "ann", "a1", 0), first)
        repeats(await node.vote(poll, "ann", "a2", 1), second)
        repeats(await node.retract(poll, "ann", "a3"), third)
        repeats(await node.vote(poll, "bob", "b1", 2), bob)
        repeats(await node.retract(poll, "cat", "c1"), cat)
        assert await node.vote(poll, "ann", "a1", 1) == "BALLOT_ID_REUSED"
        after = await node.state(poll)
        assert (after.voters, after.counts | {}) == (
            before.voters,
            {k: v for k, v in before.counts.items() if v},
        )
        assert after.epoch == before.epoch and after.seq > before.seq and after.accepted
        _, standing = await node.stores.ledger.read(poll.id, "ann")
        assert standing is not None and not standing.choices and standing.accepted
        await node.vote(poll, "cat", "c2", 0)
        await node.drain()
        assert await node.tally(poll) == await node.in_sql(poll)


async def test_the_64_ids_are_counted_across_unloading(small: Site) -> None:
    async with small.open(worker=True) as node:
        poll = await node.poll()
        for n in range(40):
            received(await node.vote(poll, "ann", f"a{n}", n % 3))
        await unload(node, poll)
        for n in range(40, 64):
            received(await node.vote(poll, "ann", f"a{n}", n % 3))
        assert await node.vote(poll, "ann", "a64", 0) == "CHANGE_LIMIT"
        await unload(node, poll)
        assert await node.vote(poll, "ann", "a64", 0) == "CHANGE_LIMIT"
        assert received(await node.vote(poll, "ann", "a0", 0)).repeated


async def test_rounds_do_not_touch_what_they_look_at(small: Site) -> None:
    async with small.open(worker=True) as node:
        poll = await node.poll()
        await node.drain()
        unloader = Eviction(node.stores.database, node.stores.poll_store, 3)
        began = time.monotonic()
        await node.state(poll)  # its rest begins here, however long it took to drain

        async def gone() -> bool:
            await unloader.round()
            return not await node.held(poll)

        await until(gone, "unloaded", 8)
        assert time.monotonic() - began > 1.5


async def test_what_sql_lacks_stays(small: Site) -> None:
    async with small.open() as node:
        poll = await node.poll()
        received(await node.vote(poll, "ann", "a1", 0))
        unloader = Eviction(node.stores.database, node.stores.poll_store, 1)
        key = node.stores.keys.poll(poll.id)[0]

        async def rests() -> bool:
            return await node.redis("OBJECT", "IDLETIME", key) >= 2

        await until(rests, "two seconds of rest")
        assert await unloader.round() == 0
        await node.drain()
        await unload(node, poll)


async def test_reads_load_and_closed_polls_are_answered_from_sql(site: Site) -> None:
    async with site.open(worker=True) as node:
        poll = await node.poll()
        first = await node.vote(poll, "ann", "a1", 0)
        changed = await node.vote(poll, "ann", "a2", 1)
        closed = await node.stores.ledger.close(poll.id)
        await unload(node, poll)
        repeats(await node.vote(poll, "ann", "a1", 0), first)
        repeats(await node.vote(poll, "ann", "a2", 1), changed)
        assert await node.vote(poll, "ann", "a3", 1) == "POLL_CLOSED"
        assert await node.vote(poll, "ann", "a1", 1) == "BALLOT_ID_REUSED"
        assert await node.retract(poll, "ann", "a1") == "BALLOT_ID_REUSED"
        assert await node.vote(poll, "bob", "b1", 1) == "POLL_CLOSED"
        guest = ballot(poll, "gus", "g1", 0)
        assert await node.cast(type(guest)(*(guest.poll_id, "gus", True, "g1", False, guest.choices))) == [
            "FORBIDDEN"
        ]
        assert not await node.held(poll)
        state = await node.state(poll)
        assert await node.held(poll)
        assert (state.closed, state.closes) == (closed.closed, closed.closes)
        assert state.voters == 1 and state.seq > closed.seq


async def test_a_poll_with_dead_letters_is_not_answered_from_sql(small: Site) -> None:
    async with small.open(worker=True) as node:
        poll = await node.poll()
        received(await node.vote(poll, "ann", "a1", 0))
        await node.stores.ledger.close(poll.id)
        await unload(node, poll)
        await _bury(node, poll)
        assert await node.vote(poll, "ann", "a1", 0) == "UNAVAILABLE"


async def _bury(node: Node, poll) -> None:
    async with node.stores.database.transaction() as q:
        await model.add_dead_letter(
            q, poll_id=poll.id, partition=0, generation=1, entry_id="1-1", entry="", error="?", created_at=0
        )
