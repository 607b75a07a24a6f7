"""One voter and one session on two instances: one ballot, one token, one end."""

import asyncio
import itertools
import time
from urllib.parse import urlsplit

import aiomysql
import pytest

from tests.instances.conftest import OwnPair
from tests.instances.pair import Pair, Site
from tools.harness.http import Person, ok
from tools.harness.shapes import counted, option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, socket

pytestmark = pytest.mark.anyio


async def test_racing_copies_of_a_ballot_over_both_instances_and_transports_count_once(
    shared: Pair, owner: Person
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    options = option_ids(poll)
    for voter in await shared.via_a.guests(5):
        async with socket(shared.a, voter) as on_a, socket(shared.b, voter) as on_b:
            answers = await asyncio.gather(
                *(api.vote(voter, poll["id"], options[:1], id="same") for api in shared.apis * 6),
                *(sock.vote(poll["id"], options[:1], id="same") for sock in (on_a, on_b)),
            )
        assert all(answer.first == answers[0].first for answer in answers)
        assert sum(not answer.body["repeated"] for answer in answers) == 1
    assert counted(await shared.via_b.tally(poll)) == {options[0]: 5}


async def test_of_racing_ballots_of_one_voter_over_both_instances_one_counts(
    shared: Pair, owner: Person
) -> None:
    poll = await shared.via_a.poll(owner, guests=True)
    options = option_ids(poll)
    voters = await shared.via_b.guests(5)
    for voter in voters:
        answers = await asyncio.gather(
            *(
                api.vote(voter, poll["id"], [options[number % 2]], id=f"b{number}")
                for number, api in enumerate(shared.apis * 6)
            )
        )
        assert sorted(answer.code or "" for answer in answers) == [""] + ["ALREADY_VOTED"] * 11
        accepted = next(answer for answer in answers if answer.code is None)
        for api in shared.apis:
            standing = (await api.state(poll, voter))["yourVote"]
            assert (standing["id"], standing["optionIds"]) == (
                accepted.body["id"],
                accepted.body["optionIds"],
            )
    assert (await shared.via_a.tally(poll))["voters"] == len(voters)


async def test_a_repeat_on_the_other_instance_gets_the_first_answer(shared: Pair, owner: Person) -> None:
    poll = await shared.via_a.poll(owner, guests=True, allowChange=True)
    tea, coffee = option_ids(poll)
    voter = await shared.via_b.guest()
    first = await shared.via_a.vote(voter, poll["id"], [tea], id="first")
    first.fresh()
    (await shared.via_b.vote(voter, poll["id"], [tea], id="first")).repeats(first)
    second = await shared.via_b.vote(voter, poll["id"], [coffee], id="second")
    second.fresh()
    async with socket(shared.b, voter) as on_b:
        (await on_b.vote(poll["id"], [tea], id="first")).repeats(first)
    (await shared.via_a.vote(voter, poll["id"], [coffee], id="second")).repeats(second)
    (await shared.via_a.vote(voter, poll["id"], [tea], id="second")).refused("BALLOT_ID_REUSED")
    assert counted(await shared.via_a.tally(poll)) == {coffee: 1}


async def test_a_token_that_one_instance_signed_works_on_the_other(shared: Pair) -> None:
    for here, there in itertools.permutations(shared.apis):
        who = await here.user()
        assert ok(await there.get("/auth/me", who))["user"] == who.user
        async with socket(there.server, who):
            pass
        fresh = ok(await there.post("/auth/refresh", {"refreshToken": who.refresh}))
        assert ok(await here.get("/auth/me", fresh["accessToken"]))["user"] == who.user


async def closed_everywhere(sockets: list[Socket], since: float, seconds: float, what: str) -> None:
    codes = [await sock.closed(seconds) for sock in sockets]
    print(f"{what}: closed everywhere after {(time.monotonic() - since) * 1000:.0f} ms")
    assert codes == [4401] * len(sockets)


async def refused_everywhere(pair: Pair, who: Person) -> None:
    assert [(await api.get("/auth/me", who)).status_code for api in pair.apis] == [401, 401]


# Half of what the next look at SQL would take: it was the message that closed them.
BY_MESSAGE = 2.0
BY_SQL = 6.0


async def test_a_logout_closes_the_sessions_sockets_on_the_other_instance(shared: Pair) -> None:
    who = await shared.via_a.user()
    again = ok(await shared.via_b.post("/auth/login", {"email": who.user["email"], "password": who.password}))
    async with (
        socket(shared.a, who) as on_a,
        socket(shared.b, who) as on_b,
        socket(shared.b, again["accessToken"]) as another,
    ):
        began = time.monotonic()
        await shared.via_a.post("/auth/logout", None, who)
        await closed_everywhere([on_a, on_b], began, BY_MESSAGE, "logout")
        await another.settle()
    await refused_everywhere(shared, who)


async def test_a_stolen_refresh_token_closes_the_sessions_sockets_on_both_instances(shared: Pair) -> None:
    who = await shared.via_a.user()
    ok(await shared.via_a.post("/auth/refresh", {"refreshToken": who.refresh}))
    async with socket(shared.a, who) as on_a, socket(shared.b, who) as on_b:

        async def theft() -> int:
            return (await shared.via_b.post("/auth/refresh", {"refreshToken": who.refresh})).status_code

        began = time.monotonic()
        await eventually(theft, lambda status: status == 401, 2, "a spent token refused")
        await closed_everywhere([on_a, on_b], began, BY_MESSAGE, "theft")
    await refused_everywhere(shared, who)


async def revoke_in_sql_alone(site: Site, who: Person) -> None:
    """As an instance leaves it that died between its commit and its message."""
    at = urlsplit(site.database)
    connection = await aiomysql.connect(
        host=at.hostname,
        port=at.port,
        user=at.username,
        password=at.password or "",
        db=at.path[1:],
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            now = "UNIX_TIMESTAMP(NOW(3)) * 1000"
            changed = await cursor.execute(
                f"UPDATE sessions SET revoked_at = {now} WHERE user_id = %s", (who.id,)
            )
            assert changed == 1
    finally:
        await connection.ensure_closed()


async def test_a_revocation_that_no_message_told_ends_the_session_on_both_instances(
    shared: Pair, site: Site
) -> None:
    who = await shared.via_a.user()
    async with socket(shared.a, who) as on_a, socket(shared.b, who) as on_b:
        began = time.monotonic()
        await revoke_in_sql_alone(site, who)
        await closed_everywhere([on_a, on_b], began, BY_SQL, "revoked in SQL alone")
    await refused_everywhere(shared, who)


async def test_a_restarted_instance_knows_the_sessions_that_ended(own: OwnPair) -> None:
    async with own() as pair:
        who, still_here = await pair.via_a.user(), await pair.via_a.user()
        await asyncio.to_thread(pair.b.kill)
        await pair.via_a.post("/auth/logout", None, who)
        await asyncio.to_thread(pair.b.start)
        await refused_everywhere(pair, who)
        assert ok(await pair.via_b.get("/auth/me", still_here))


async def test_an_expired_token_closes_its_socket_on_the_other_instance(own: OwnPair) -> None:
    async with own({"ACCESS_TOKEN_SECONDS": "2"}) as pair, socket(pair.b) as sock:
        await sock.auth(await pair.via_a.guest())
        await sock.expect("ERROR", code="TOKEN_EXPIRED")
        assert await sock.closed() == 4401
