"""Edits and loadings whose process dies between two of their steps, or is overtaken: the poll heals, rules never mix."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from app.domain.ballots import Lease, PollState
from app.domain.errors import PollroomError
from app.domain.polls import Option, Rules
from app.ports.database import Queries
from app.ports.ledger import TryAgain
from app.repositories import polls
from app.services.polls.poll_loader import as_it_stands
from tests.ledger.proxy import Proxy, proxy
from tests.recovery.site import Node, Site, ballot, received, until

pytestmark = pytest.mark.anyio


def other_options(rules: Rules, state: PollState) -> Rules:
    """New options, a new question and a new end: what must never be seen apart."""
    return replace(
        rules,
        version=rules.version + 1,
        question="Other?",
        options=tuple(Option(f"new{n}", f"New {n}") for n in range(3)),
        closes_at=state.now + 3_600_000,
    )


async def until_free(node: Node, lease: Lease) -> None:
    """The lease has run out."""
    key = node.stores.keys.poll(lease.poll_id)[0]

    async def out() -> bool:
        ends = await node.redis("HGET", key, "held_until")
        seconds, micros = await node.stores.client.time()
        return ends is None or int(ends) < int(seconds) * 1000 + int(micros) // 1000

    await until(out, "end of the lease", 8)


async def killed_after_commit(node: Node, poll: Rules) -> Rules:
    """Lease, commit, and nothing more."""
    async with node.stores.database.transaction() as queries:
        lease, new = await updated(node, queries, poll)
    await until_free(node, lease)
    return new


async def updated(node: Node, queries: Queries, poll: Rules) -> tuple[Lease, Rules]:
    """Other options under a lease, before the commit."""
    standing = await polls.lock(queries, poll.id)
    assert standing is not None
    lease = await node.stores.ledger.lease(poll.id)
    assert lease.state is not None
    new = other_options(as_it_stands(standing, lease.state), lease.state)
    await polls.update(queries, new)
    return lease, new


async def test_a_lease_that_nobody_ends_expires(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        await node.stores.ledger.lease(poll.id)
        began = time.monotonic()
        answer = await node.vote(poll, "ann", "a1", 0)
        while answer == "UNAVAILABLE" and time.monotonic() - began < 10:
            answer = await node.vote(poll, "ann", "a1", 0)
        received(answer)
        assert time.monotonic() - began < 8


LOST = ["cut", "silent", "cancelled"]
"""How a lease's reply is lost: with its connection, until the wait for it ends, with who waited for it."""


@asynccontextmanager
async def behind_a_proxy(site: Site) -> AsyncIterator[tuple[Node, Proxy]]:
    async with proxy(site.redis.url) as between, site.open(REDIS_URL=between.url) as node:
        yield node, between


async def lose_a_lease(node: Node, between: Proxy, poll: Rules, how: str) -> None:
    """Redis has taken it, nobody is told."""
    if how == "cut":
        between.cut = lambda: between.cuts == 0
    else:
        between.swallow = 1
    leasing = asyncio.create_task(node.stores.ledger.lease(poll.id))
    if how == "cancelled":
        await between.swallowed.wait()
        leasing.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else TryAgain):
        await leasing
    assert between.cuts == 1 or between.swallowed.is_set()


@pytest.mark.parametrize("how", LOST)
async def test_a_lease_whose_reply_is_lost_holds_up_nobody(small: Site, how: str) -> None:
    async with behind_a_proxy(small) as (node, between), small.open() as other:
        poll = await node.poll()
        await lose_a_lease(node, between, poll, how)
        began = time.monotonic()
        received(await other.vote(poll, "ann", "a1", 0))
        await node.stores.editor.edit(poll.id, other_options)
        assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_lease_of_an_edit_that_was_not_installed_brings_no_old_rules_back(
    small: Site, how: str
) -> None:
    """The lease took the place of a dead edit's, which is what said that the rules in Redis are not the last."""
    async with behind_a_proxy(small) as (node, between), small.open() as other:
        poll = await node.poll()
        new = await killed_after_commit(node, poll)
        await lose_a_lease(node, between, poll, how)
        assert await other.vote(poll, "ann", "a1", 0) == "INVALID_OPTION"
        received(await other.vote(new, "ann", "a1", 0))


async def test_votes_after_an_edit_that_was_not_installed_meet_its_rules(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        new = await killed_after_commit(node, poll)
        assert await node.vote(poll, "ann", "a1", 0) == "INVALID_OPTION"
        received(await node.vote(new, "ann", "a1", 0))
        reading = await node.stores.reader.read(poll.id)
        assert (reading.rules.question, reading.state.closes) == ("Other?", new.closes_at)
        assert reading.state.counts == {"new0": 1}


async def test_reads_after_an_edit_that_was_not_installed_show_its_rules(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        before = await node.stores.reader.read(poll.id)
        assert before.rules.version == 1
        new = await killed_after_commit(node, poll)
        reading = await node.stores.reader.read(poll.id)
        assert (reading.rules.version, reading.rules.question) == (2, "Other?")
        assert reading.state.closes == new.closes_at


async def test_an_edit_after_one_that_was_not_installed_keeps_both(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        new = await killed_after_commit(node, poll)
        rules, state = await node.stores.editor.edit(
            poll.id, lambda now, _: replace(now, description="third", version=now.version + 1)
        )
        assert (rules.version, rules.question, rules.description) == (3, "Other?", "third")
        assert (rules.closes_at, state.closes) == (new.closes_at, new.closes_at)
        standing = await polls.find(node.stores.database, poll.id)
        assert standing is not None and standing.closes_at == new.closes_at


async def test_no_vote_comes_between_an_expired_lease_and_its_commit(site: Site) -> None:
    async with site.open() as node, site.open() as other:
        poll = await node.poll()
        async with node.stores.database.transaction() as queries:
            lease, new = await updated(node, queries, poll)
            await until_free(node, lease)
            assert await other.vote(poll, "ann", "a1", 0) == "UNAVAILABLE"
        assert await other.vote(poll, "ann", "a1", 0) == "INVALID_OPTION"
        received(await other.vote(new, "ann", "a1", 1))
        assert (await node.state(poll)).counts == {"new1": 1}


async def test_new_times_that_come_too_late_leave_nothing_of_their_edit(site: Site) -> None:
    async with site.open(worker=True) as node:
        poll = await node.poll()
        ends = (await node.state(poll)).now + 1500
        await node.stores.editor.edit(
            poll.id, lambda now, _: replace(now, closes_at=ends, version=now.version + 1)
        )
        with pytest.raises(PollroomError, match=r"closed|CLOSED"):
            await node.stores.editor.edit(poll.id, lambda now, state: _slow(now, state, ends))
        reading = await node.stores.reader.read(poll.id)
        assert (reading.rules.question, reading.state.closed, reading.state.closes) == ("?", ends, ends)
        await node.drain()
        standing = await polls.find(node.stores.database, poll.id)
        assert standing is not None
        assert (standing.question, standing.closes_at, standing.closed_at) == ("?", ends, ends)


def _slow(rules: Rules, state: PollState, ends: int) -> Rules:
    """An edit that is made before the end and arrives after it."""
    time.sleep(max(0.0, (ends - state.now) / 1000 + 0.05))
    return replace(rules, question="Late?", closes_at=ends + 3_600_000, version=rules.version + 1)


async def test_making_and_editing_on_a_partition_that_is_not_verified(site: Site) -> None:
    """The verifier needs the database: an edit must not keep it while it waits."""
    async with site.open() as node:
        poll = await node.poll()
        for _ in range(3):
            await node.redis("DEL", node.stores.keys.fence(0))
            began = time.monotonic()
            await node.stores.editor.edit(
                poll.id, lambda now, _: replace(now, question=now.question + "!", version=now.version + 1)
            )
            assert time.monotonic() - began < 2
        await node.redis("DEL", node.stores.keys.fence(0))
        began = time.monotonic()
        await node.poll()
        assert time.monotonic() - began < 2


async def test_two_processes_load_one_poll_at_once(site: Site) -> None:
    async with site.open() as a, site.open() as b:
        poll = await a.poll()
        received(await a.vote(poll, "ann", "a1", 0))
        await a.drain()
        keys = a.stores.keys.poll(poll.id)
        for n in range(5):
            await a.redis("DEL", *keys)
            answers = await asyncio.gather(
                a.cast(ballot(poll, "ann", f"a{n}a", 1), ballot(poll, "bob", f"b{n}a", 1)),
                b.cast(ballot(poll, "ann", f"a{n}b", 2), ballot(poll, "bob", f"b{n}b", 2)),
            )
            for answer in [one for some in answers for one in some]:
                received(answer)
            await a.drain()
            assert await b.tally(poll) == await a.in_sql(poll)
            assert (await b.tally(poll))[0] == 2
