"""Two instances on one MariaDB and one Redis: real clients beside raw sockets in the same poll."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness.targets import target
from tests.plugin import not_tested
from tests.socketio.client import connected
from tests.socketio.conftest import ON, TRANSPORTS
from tools.harness.http import Api
from tools.harness.process import Server, run, serving
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import socket
from tools.servers import Missing


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("both")
    try:
        pair = target("pair", folder)
        found = pair.__enter__()
    except Missing as error:
        not_tested(error)
    try:
        with serving(folder / "servers", found.settings | ON, instances=2) as server:
            yield server
        recounted = run(["recount", "--all"], found.settings)
        assert recounted.returncode == 0, recounted.stdout
    finally:
        pair.__exit__(None, None, None)


async def test_one_poll_of_raw_socketio_and_http_voters_on_two_instances(library: str, both: Server) -> None:
    async with Api(both) as api:
        owner = await api.user()
        poll = await api.poll(owner, guests=True)
        tea, coffee = option_ids(poll)
        voters = await api.guests(18)
        a, b = both.url(0), both.url(1)
        async with (
            connected(library, both, base=a, transports=("polling",)) as on_a,
            connected(library, both, base=b) as on_b,
            socket(both, base=a) as raw_a,
            socket(both, base=b) as raw_b,
        ):
            for each in (on_a, on_b, raw_a, raw_b):
                await each.join(poll)
            await on_a.event("poll_update", viewers=4)
            await raw_b.viewers(poll, 4)

            async def vote(number: int) -> None:
                base, option = (a, b)[number % 2], (tea, coffee)[number % 3 == 0]
                if number < 6:
                    transports = TRANSPORTS[number % 3]
                    async with connected(
                        library, both, voters[number], base=base, transports=transports
                    ) as client:
                        (await client.vote(poll["id"], [option], id="a")).fresh()
                elif number < 12:
                    async with socket(both, voters[number], base=base) as raw:
                        (await raw.vote(poll["id"], [option], id="a")).fresh()
                else:
                    (await api.vote(voters[number], poll["id"], [option], id="a")).fresh()

            await asyncio.gather(*(vote(number) for number in range(18)))
            counts = {tea: 12, coffee: 6}
            for each in (on_a, on_b, raw_a, raw_b):
                await each.shows(poll, voters=18, counts=counts)
            # Sent again elsewhere, on another transport.
            async with connected(library, both, voters[6], base=b) as client:
                assert (await client.vote(poll["id"], [coffee], id="a")).body["repeated"] is True
            assert (await api.vote(voters[0], poll["id"], [coffee], id="a")).body["repeated"] is True
            await api.post(f"/polls/{poll['id']}/close", None, owner)
            for each in (on_a, on_b, raw_a, raw_b):
                assert (await each.shows(poll, final=True))["tally"]["counts"] == counts


async def test_logout_on_one_instance_ends_clients_on_the_other(library: str, both: Server) -> None:
    async with Api(both) as api:
        person = await api.user()
        async with (
            connected(library, both, person, base=both.url(1)) as client,
            connected(library, both, person, base=both.url(1), transports=("polling",)) as polling,
        ):
            await api.post("/auth/logout", None, person, base=both.url(0))
            for each in (client, polling):
                assert (await each.event("error"))["code"] == "UNAUTHENTICATED"
                await each.hears("disconnect", reason="io server disconnect")


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_lost_answer_is_asked_for_again(
    library: str, both: Server, transports: tuple[str, ...]
) -> None:
    async with Api(both) as api:
        owner = await api.user()
        poll = await api.poll(owner, guests=True)
        tea = option_ids(poll)[0]
        voter = await api.guest()
        async with (
            connected(library, both, voter, base=both.url(0), transports=transports) as client,
            socket(both, base=both.url(1)) as raw,
        ):
            await raw.join(poll)
            await client.join(poll)
            await client.do("deafen")
            body = {"pollId": poll["id"], "optionId": tea, "id": "once"}
            await client.do("emit", event="vote", args=[body], ack=7, timeout=300)
            assert (await client.hears("ack", ack=7))["timedOut"] is True
            await raw.shows(poll, voters=1)
            mark = client.mark()
            await client.do("cut")
            await client.hears("reconnect", mark)
            again = await client.vote(poll["id"], [tea], id="once")
            assert again.code is None and again.body["repeated"] is True
            assert (await client.join(poll))["tally"]["voters"] == 1


async def test_votes_of_clients_that_break_off_again_and_again_count_once(library: str, both: Server) -> None:
    async with Api(both) as api:
        owner = await api.user()
        poll = await api.poll(owner, guests=True)
        tea = option_ids(poll)[0]
        voters = await api.guests(4)

        async def vote(number: int) -> None:
            async with connected(library, both, voters[number], base=both.url(number % 2)) as client:
                body = {"pollId": poll["id"], "optionId": tea, "id": "once"}
                for attempt in range(4):
                    await client.do("emit", event="vote", args=[body], ack=attempt, timeout=2000)
                    await client.do("cut")
                    await client.hears("ack", ack=attempt)
                assert (await client.vote(poll["id"], [tea], id="once")).code is None

        await asyncio.gather(*(vote(number) for number in range(4)))

        async def counted() -> int:
            return int((await api.get(f"/polls/{poll['id']}/results")).json()["tally"]["voters"])

        await eventually(counted, lambda found: found == 4, 5, "four voters")
