"""Decks on two instances: every socket follows, whatever is lost in between, and no vote counts for another question."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from tests.instances.pair import Pair, Site
from tools.harness.decks import drafts, make, move
from tools.harness.http import Person, ok
from tools.harness.network import stopped
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, socket

pytestmark = pytest.mark.anyio

MOVES, MOVING_SECONDS = 200, 10.0
SOON = 5.0
"""The contract's limit where a message between instances was lost."""


async def in_deck(stack: AsyncExitStack, pair: Pair, deck: dict[str, Any], count: int = 2) -> list[Socket]:
    found = []
    for server in pair.both:
        for _ in range(count):
            found.append(await stack.enter_async_context(socket(server)))
            await found[-1].join_deck(deck)
    return found


async def shown(sock: Socket, poll: dict[str, Any] | None, timeout: float = SOON) -> None:
    wanted = poll and poll["id"]
    await sock.expect("DECK_CHANGED", timeout, deck={"currentPollId": lambda found: found == wanted})


async def test_200_moves_in_10_seconds_under_votes(shared: Pair, owner: Person) -> None:
    """Sockets fail by themselves where ``version`` or a tally goes back."""
    polls = await drafts(shared.via_a, owner, MOVES)
    deck = await make(shared.via_a, owner, polls)
    options = {poll["id"]: option_ids(poll)[0] for poll in polls}
    voters = await shared.via_a.guests(6)
    accepted: dict[str, int] = dict.fromkeys(options, 0)
    refused = 0
    over = False

    async def votes(server: Any, who: Person) -> None:
        """Follows the deck, and votes for what it sees, often too late."""
        nonlocal refused
        async with socket(server, who) as sock:
            await sock.join_deck(deck)
            voted: set[str] = set()
            while not over:
                seen = [frame["deck"]["currentPollId"] for frame in sock.frames if "deck" in frame]
                for poll_id in {*seen[-2:]} - voted - {None}:
                    answer = await sock.vote(poll_id, [options[poll_id]], id=f"v{poll_id}")
                    if answer.code is None:
                        voted.add(poll_id)
                        accepted[poll_id] += 1
                    else:
                        answer.refused("POLL_CLOSED")
                        voted.add(poll_id)
                        refused += 1
                await asyncio.sleep(0.005)
            assert await sock.until(lambda: last_of(sock), "the last poll")

    def last_of(sock: Socket) -> Any:
        return [f for f in sock.frames if f.get("deck", {}).get("currentPollId") == polls[-1]["id"]] or None

    tasks = [
        asyncio.create_task(votes(server, who)) for server, who in zip(shared.both * 3, voters, strict=True)
    ]
    async with AsyncExitStack() as stack:
        watchers = await in_deck(stack, shared, deck)
        began = time.monotonic()
        for number, poll in enumerate(polls):
            await move(shared.apis[number % 2], owner, deck, poll)
            await asyncio.sleep(max(0.0, began + (number + 1) * MOVING_SECONDS / MOVES - time.monotonic()))
        took = time.monotonic() - began
        over = True
        await asyncio.gather(*tasks)
        for watcher in watchers:
            assert await watcher.until(lambda watcher=watcher: last_of(watcher), "the last poll")  # type: ignore[misc]
        versions = [frame["deck"]["version"] for frame in watchers[0].frames if "deck" in frame]
        assert versions == sorted(set(versions))
    for poll in polls:
        tally = (await shared.via_b.state(poll, owner))["tally"]
        assert tally["counts"][options[poll["id"]]] == tally["voters"] == accepted[poll["id"]]
    print(f"{MOVES} moves in {took:.1f} s, {sum(accepted.values())} votes accepted, {refused} too late,")
    print(f"a watcher saw {len(versions)} versions")


async def test_a_move_is_one_message_to_each_socket(shared: Pair, owner: Person) -> None:
    """Neither the close of the old poll nor the viewers of the new one are told apart from it."""
    polls = await drafts(shared.via_a, owner, 3)
    deck = await make(shared.via_a, owner, polls)
    who = await shared.via_a.guest()
    await move(shared.via_a, owner, deck, polls[0])
    async with AsyncExitStack() as stack:
        sockets = await in_deck(stack, shared, deck, 3)
        for sock in sockets:
            await sock.viewers(polls[0], 6)
        for poll in polls[1:]:
            marks = [sock.mark() for sock in sockets]
            await move(shared.via_b, owner, deck, poll)
            await asyncio.gather(*(shown(sock, poll) for sock in sockets))
            (await shared.via_a.vote(who, poll["id"], option_ids(poll)[:1])).fresh()
            for sock, mark in zip(sockets, marks, strict=True):
                await sock.shows(poll, mark=mark, voters=1)
                told, update = sock.since(mark)[:2]
                assert (told["type"], told["viewers"]) == ("DECK_CHANGED", 6)
                assert (update["type"], update["viewers"], update["tally"]["voters"]) == ("POLL_UPDATE", 6, 1)


async def test_a_move_whose_hint_is_lost_is_shown_within_5_seconds(
    shared: Pair, owner: Person, redis_client: "redis.asyncio.Redis"
) -> None:
    polls = await drafts(shared.via_a, owner, 4)
    deck = await make(shared.via_a, owner, polls)
    async with AsyncExitStack() as stack:
        sockets = await in_deck(stack, shared, deck)
        for poll in polls:
            killing = asyncio.create_task(redis_client.client_kill_filter(_type="pubsub"))
            await asyncio.gather(killing, move(shared.via_a, owner, deck, poll))
            await asyncio.gather(*(shown(sock, poll) for sock in sockets))
        await shared.ready()


async def test_of_two_hosts_with_the_same_version_one_moves(shared: Pair, owner: Person) -> None:
    polls = await drafts(shared.via_a, owner, 21)
    deck = await make(shared.via_a, owner, polls)
    version = deck["version"]
    async with AsyncExitStack() as stack:
        (watcher, *_) = await in_deck(stack, shared, deck)
        for one, other in zip(polls[::2], polls[1::2], strict=False):
            answers = await asyncio.gather(
                *(
                    api.post(
                        f"/decks/{deck['id']}/current", {"pollId": poll["id"], "version": version}, owner
                    )
                    for api, poll in zip(shared.apis, (one, other), strict=True)
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            won = next(answer.json() for answer in answers if answer.status_code == 200)
            (lost,) = (answer.json() for answer in answers if answer.status_code == 409)
            assert lost["code"] == "DECK_MOVED"
            version = won["deck"]["version"]
            await shown(watcher, won["poll"])
            loser = other if won["poll"]["id"] == one["id"] else one
            assert (await shared.via_a.state(loser, owner))["poll"]["status"] == "draft"


async def test_a_move_while_redis_is_away_is_finished_by_itself(
    shared: Pair, owner: Person, site: Site
) -> None:
    old, new = await drafts(shared.via_a, owner, 2)
    deck = await make(shared.via_a, owner, [old, new])
    await move(shared.via_a, owner, deck, old)
    async with AsyncExitStack() as stack:
        sockets = await in_deck(stack, shared, deck)
        with stopped(site.redis):
            body = {"pollId": new["id"]}
            answer = await shared.via_a.call(
                "POST", f"/decks/{deck['id']}/current", body, owner, allow_5xx=True
            )
            assert answer.json()["code"] == "UNAVAILABLE"
        began = time.monotonic()
        # It is not known whether the row has moved; repeating the call is safe.
        moved = await move(shared.via_b, owner, deck, new)
        assert moved["poll"]["status"] == "open"
        await asyncio.gather(*(shown(sock, new) for sock in sockets))
        print(f"shown {time.monotonic() - began:.2f} s after Redis was back")
        assert (await shared.via_a.state(old))["poll"]["status"] == "closed"
        await shared.ready()


async def test_the_deck_of_a_deleted_account_ends_for_its_sockets(shared: Pair) -> None:
    person = await shared.via_a.user()
    polls = await drafts(shared.via_a, person, 1)
    deck = await make(shared.via_a, person, polls)
    await move(shared.via_a, person, deck, polls[0])
    async with AsyncExitStack() as stack:
        sockets = await in_deck(stack, shared, deck)
        ok(await shared.via_a.call("DELETE", "/auth/me", {"password": person.password}, person), 204)
        for sock in sockets:
            await sock.expect("DECK_DELETED", 20, deckId=deck["id"])


async def test_a_poll_that_changes_decks_is_shown_where_it_is(shared: Pair, owner: Person) -> None:
    polls = await drafts(shared.via_a, owner, 2)
    first = await make(shared.via_a, owner, polls)
    await move(shared.via_a, owner, first, polls[0])
    await move(shared.via_a, owner, first, polls[1], close=False)
    ok(await shared.via_a.patch(f"/decks/{first['id']}", {"pollIds": [polls[1]["id"]]}, owner))
    second = await make(shared.via_b, owner, polls[:1])
    async with AsyncExitStack() as stack:
        here, there = await in_deck(stack, shared, first), await in_deck(stack, shared, second)
        await move(shared.via_b, owner, second, polls[0])
        await asyncio.gather(*(shown(sock, polls[0]) for sock in there))
        await shared.via_a.edit(owner, polls[0], description="In the second")
        for sock in there:
            await sock.expect("POLL_CHANGED", poll={"description": "In the second"})
        for sock in here:
            await sock.settle()
            assert not [f for f in sock.since(0, "POLL_CHANGED") if f["poll"]["id"] == polls[0]["id"]]

    async def decks() -> list[Any]:
        return [(await api.state(polls[0]))["poll"]["deckId"] for api in shared.apis]

    await eventually(decks, lambda found: found == [second["id"]] * 2, SOON)
