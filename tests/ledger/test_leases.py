"""Edits: lease, commit, install. Rules are taken over whole or not at all, whatever dies in between."""

import asyncio

import pytest

from app.domain.ballots import Lease, Receipt
from app.ports.ledger import TryAgain
from tests.ledger.world import OPTIONS, World, ballot, options, receipts


async def expire(here: World, lease: Lease) -> None:
    """As if the lease had run out."""
    key = here.keys.poll(lease.poll_id)[0]
    assert await here.direct.hset(key, "held_until", await here.time()) == 0


async def test_one_caller_leases_a_poll_at_a_time_and_who_lost_its_lease_installs_nothing(
    here: World,
) -> None:
    poll = await here.poll()
    first = await here.ledger.lease(poll)
    with pytest.raises(TryAgain):
        await here.ledger.lease(poll)
    await expire(here, first)
    second = await here.ledger.lease(poll)
    assert first.state is not None and second.state is not None
    assert second.state.order == first.state.order
    rules = here.rules[poll]
    with pytest.raises(TryAgain):
        await here.install(first, here.revise(first, allow_change=False))
    here.rules[poll] = rules
    state, late = await here.install(second, here.revise(second, guests=True))
    assert (state.version, late) == (2, False)
    receipts(
        await here.cast(
            ballot(poll, "ann", "a", "o1", guest=True), ballot(poll, "ann", "b", "o2", guest=True)
        )
    )


async def test_letting_go_changes_nothing(here: World) -> None:
    poll = await here.poll()
    before, _ = await here.ledger.read(poll)
    log = await here.log()
    await here.ledger.release(await here.ledger.lease(poll))
    after, _ = await here.ledger.read(poll)
    assert (after.order, await here.log()) == (before.order, log)
    assert not await here.direct.hexists(here.keys.poll(poll)[0], "hold")


async def test_who_lost_its_lease_cannot_release_another(here: World) -> None:
    poll = await here.poll()
    first = await here.ledger.lease(poll)
    await expire(here, first)
    await here.ledger.lease(poll)
    await here.ledger.release(first)
    with pytest.raises(TryAgain):
        await here.ledger.lease(poll)


async def test_an_installation_that_is_repeated_changes_nothing_more(here: World) -> None:
    """Its first answer was lost."""
    poll = await here.poll()
    lease = await here.ledger.lease(poll)
    rules = here.revise(lease, allow_change=False)
    first, _ = await here.install(lease, rules)
    again, late = await here.install(lease, rules)
    assert (again.order, late) == (first.order, False)


async def test_a_repeated_installation_still_says_that_new_times_came_too_late(here: World) -> None:
    """Or the owner is told of times that the poll does not have."""
    poll = await here.poll()
    lease = await here.ledger.lease(poll)
    await here.ledger.close(poll)
    rules = here.revise(lease, closes_at=await here.time() + 3_600_000)
    first, late = await here.install(lease, rules, times=True)
    assert late
    again, late = await here.install(lease, rules, times=True)
    assert again.order == first.order
    assert late


async def test_a_lease_of_an_absent_poll_leaves_nothing_when_it_expires(here: World) -> None:
    poll = await here.poll()
    keys = here.keys.poll(poll)
    await here.direct.delete(*keys)
    lease = await here.ledger.lease(poll)
    assert lease.state is None
    assert 0 < await here.direct.pttl(keys[0]) <= 5_000
    await here.ledger.release(lease)
    assert not await here.direct.exists(*keys)
    state, _ = await here.install(await here.ledger.lease(poll), here.rules[poll])
    assert (await here.direct.pttl(keys[0]), state.version) == (-1, 1)


async def test_rules_are_never_mixed(here: World) -> None:
    """Votes meet either the old rules or the new ones, in everything."""
    poll = await here.poll(allow_change=True, guests=False)
    done = False
    met: list[str] = []

    async def vote() -> None:
        n = 0
        while not done:
            n += 1
            got = await here.cast(
                ballot(poll, f"v{n}", "a", "o1"),
                ballot(poll, f"v{n}", "b", "o2"),
                ballot(poll, f"g{n}", "a", "o1", guest=True),
            )
            assert isinstance(got[0], Receipt)
            met.append("changes" if isinstance(got[1], Receipt) else "guests")
            expected = {"changes": [Receipt, "FORBIDDEN"], "guests": ["ALREADY_VOTED", Receipt]}[met[-1]]
            assert [one if isinstance(one, str) else Receipt for one in got[1:]] == expected

    voting = asyncio.ensure_future(vote())
    try:
        for n in range(20):
            await here.edit(poll, allow_change=bool(n % 2), guests=not n % 2)
            before = len(met)
            while len(met) < before + 2 and not voting.done():
                await asyncio.sleep(0)
    finally:
        done = True
        await voting
    assert {"changes", "guests"} == set(met)


async def test_a_vote_after_a_crash_in_the_middle_of_an_edit_keeps_its_choice(here: World) -> None:
    """New options were committed, then the lease ran out. Whether the vote is taken or not, it never moves to another."""
    poll = await here.poll()
    lease = await here.ledger.lease(poll)
    here.revise(lease, options=options(OPTIONS[::-1]))
    await expire(here, lease)
    (got,) = await here.cast(ballot(poll, "ann", "a", "o1"))
    state, _ = await here.install(await here.lease(poll), here.rules[poll])
    counted = {option: n for option, n in state.counts.items() if n}
    _, standing = await here.ledger.read(poll, "ann")
    if isinstance(got, Receipt):
        assert standing is not None and standing.choices == got.choices == ("o1",)
        assert counted == {"o1": 1}
        (again,) = receipts(await here.cast(ballot(poll, "ann", "a", "o1")))
        assert (again.seq, again.choices, again.repeated) == (got.seq, got.choices, True)
    else:
        assert (standing, counted) == (None, {})
    recounted = await here.ledger.recount(poll)
    assert recounted is not None
    assert {option: n for option, n in recounted.counts.items() if n} == counted
