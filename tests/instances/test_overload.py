"""Beyond the limits new work is refused by code, and old work goes on."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.instances.conftest import OwnPair
from tests.instances.pair import Site, in_room
from tools.harness.network import stopped
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import bare_socket

pytestmark = pytest.mark.anyio

Task = asyncio.Task[httpx.Response]


async def test_a_socket_too_many_is_closed_with_4503_and_the_others_stay(own: OwnPair) -> None:
    async with own(a={"MAX_SOCKETS": "5"}) as pair, AsyncExitStack() as stack:
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner)
        sockets = await in_room(stack, pair.a, poll, 5)
        for _ in range(2):
            async with bare_socket(pair.a) as refused:
                assert await refused.closed() == 4503
        await in_room(stack, pair.b, poll, 6)
        (await pair.via_b.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
        for sock in sockets:
            await sock.shows(poll, voters=1)
            await sock.viewers(poll, 11)
        sockets[0].abort()

        async def welcome() -> bool:
            async with bare_socket(pair.a) as sock:
                await sock.until(lambda: True if sock.frames or not sock.is_open else None, "an answer")
                return bool(sock.frames)

        await eventually(welcome, bool, 5, "room for another")


async def test_a_ballot_too_many_is_unavailable_at_once_and_those_that_wait_are_taken(
    own: OwnPair, site: Site
) -> None:
    async with own(a={"MAX_QUEUED_BALLOTS": "10"}) as pair:
        owner = await pair.via_a.user()
        poll = await pair.via_a.poll(owner, guests=True)
        voters = await pair.via_a.guests(14)
        tea = option_ids(poll)[:1]
        body = {"optionIds": tea, "id": "one"}
        path = f"/polls/{poll['id']}/votes"

        def send(index: int) -> Task:
            return asyncio.create_task(pair.via_a.post(path, body, voters[index], allow_5xx=True))

        async with bare_socket(pair.a, voters[13]) as sock:
            await sock.expect("AUTHENTICATED")
            with stopped(site.redis):
                tasks = {send(index) for index in range(13)}
                first: set[Task] = set()
                while len(first) < 3:
                    done, _ = await asyncio.wait(tasks - first, return_when=asyncio.FIRST_COMPLETED)
                    first |= done
                assert len(first) == 3, "ten wait"
                for task in first:
                    response = task.result()
                    assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
                    assert int(response.headers["retry-after"]) >= 1
                assert (await sock.vote(poll["id"], tea, id="one")).refused("UNAVAILABLE")["retryAfter"] > 0
                assert not any(task.done() for task in tasks - first), (
                    "those that wait are not refused for it"
                )
            waiting = await asyncio.gather(*(tasks - first))
            assert {response.status_code for response in waiting} <= {200, 201}, waiting
            (await sock.vote(poll["id"], tea, id="one")).fresh()
        assert (await pair.via_b.tally(poll))["voters"] == 11
