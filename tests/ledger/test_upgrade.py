"""Versions before 1.0 and this one on the same Redis, as during an upgrade of one process after another."""

from collections.abc import Mapping
from typing import Any

from tests.ledger.world import OWNER, World, ballot, receipts

ALLOW_CHANGE, GUESTS, DRAFT = 1, 2, 4


async def fields(world: World, poll: str) -> dict[str, str]:
    found: Mapping[bytes, bytes] = await world.direct.hgetall(world.keys.poll(poll)[0])
    return {name.decode(): value.decode(errors="replace") for name, value in found.items()}


async def written_before_1_0(world: World, poll: str, **changes: Any) -> None:
    """What an earlier version writes of the rules: it does not know the field ``rules``, and leaves it as it is."""
    await world.direct.hset(world.keys.poll(poll)[0], mapping=changes)


async def test_a_poll_that_an_earlier_version_installed_takes_votes_and_edits(here: World) -> None:
    poll = await here.poll(max_choices=2)
    await here.direct.hdel(here.keys.poll(poll)[0], "rules")
    first = ballot(poll, "ann", "a", "o1", "o2")
    assert receipts(await here.cast(first))
    assert await here.cast(
        ballot(poll, "ann", "b", "o1", "o2", "o3"), ballot(poll, "guest", "c", "o1", guest=True)
    ) == ["INVALID_CHOICE_COUNT", "FORBIDDEN"]
    await here.edit(poll, guests=True)
    assert "rules" in await fields(here, poll)
    assert receipts(await here.cast(ballot(poll, "guest", "d", "o1", guest=True), first))


async def test_an_edit_by_an_earlier_version_counts_although_it_leaves_our_copy_of_the_rules_behind(
    here: World,
) -> None:
    poll = await here.poll(draft=True)
    assert await here.cast(ballot(poll, OWNER, "a", "o1")) == ["POLL_NOT_OPEN"]
    await written_before_1_0(here, poll, version=2, flags=GUESTS, min=2, max=3, opened=1)
    sent = [
        ballot(poll, "ann", "a", "o1"),
        ballot(poll, "guest", "b", "o1", "o2", guest=True),
        ballot(poll, "guest", "c", "o2", "o3", guest=True),
    ]
    refused, taken, again = await here.cast(*sent)
    assert (refused, again) == ("INVALID_CHOICE_COUNT", "ALREADY_VOTED")
    assert receipts([taken])


async def test_an_earlier_version_finds_the_rules_that_we_install(here: World) -> None:
    poll = await here.poll(draft=True, guests=True, min_choices=2, max_choices=3)
    found = await fields(here, poll)
    assert (found["flags"], found["min"], found["max"]) == (str(ALLOW_CHANGE + GUESTS + DRAFT), "2", "3")
    assert found["options"] == "o1,o2,o3,o4"
