"""One clock for all: an instance on a host whose clock is wrong does what the others do, when they do it."""

import contextlib
import re

import pytest

from tests.instances.conftest import OwnPair
from tests.plugin import not_tested
from tools.harness import network as faults
from tools.harness.shapes import option_ids
from tools.harness.wait import SOON, ahead, now, parse
from tools.harness.websocket import socket
from tools.servers import Missing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("offset", ["+7m", "-7m", "+30d", "-30d"])
async def test_a_close_at_a_time_is_the_same_where_a_hosts_clock_is_wrong(own: OwnPair, offset: str) -> None:
    try:
        wrong = faults.shifted(offset)
    except Missing as error:
        not_tested(error)
    async with own(b=wrong | {"LOG_LEVEL": "info"}) as pair, contextlib.AsyncExitStack() as stack:
        owner = await pair.via_b.user()
        poll = await pair.via_b.poll(owner, guests=True, opensAt=ahead(SOON), closesAt=ahead(2 * SOON))
        here, there = [await stack.enter_async_context(socket(server)) for server in pair.both]
        for sock in (here, there):
            await sock.join(poll)
            await sock.shows(poll, final=False)
        opened = [await sock.expect("POLL_CHANGED", poll={"status": "open"}) for sock in (here, there)]
        for number, api in enumerate(pair.apis, 1):
            voter = await pair.apis[number % 2].guest()
            (await api.vote(voter, poll["id"], option_ids(poll)[:1])).fresh()
            seen = abs((parse(await (here, there)[number - 1].settle()) - now()).total_seconds())
            assert seen < 2, "the server's time is Redis's"
        closed = [await sock.expect("POLL_CHANGED", poll={"status": "closed"}) for sock in (here, there)]
        came = [
            sock.times[sock.frames.index(frame)] for sock, frame in zip((here, there), closed, strict=True)
        ]
        print(
            f"host clock {offset}: the two rooms learned of the close {abs(came[0] - came[1]) * 1000:.0f} ms apart"
        )
        for one, two in (opened, closed):
            assert (one["poll"], one["tally"]) == (two["poll"], two["tally"])
        assert (closed[0]["tally"]["voters"], closed[0]["tally"]["final"]) == (2, True)
        assert closed[0]["poll"]["closesAt"] == poll["closesAt"]
        for api in pair.apis:
            voter = await api.guest()
            (await api.vote(voter, poll["id"], option_ids(poll)[:1])).refused("POLL_CLOSED")
            assert (await api.state(poll))["tally"] == closed[0]["tally"]
        stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", pair.b.log())
        assert stamp, pair.b.log()
        wrong_by = abs((parse(stamp[0]) - now()).total_seconds())
        assert wrong_by > 300, "the clock of B's host was to be wrong"
