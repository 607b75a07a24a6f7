"""One socket's life: greeting, identity, pings."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.targets import Target
from tools.harness.http import Api, Person
from tools.harness.process import Server, serving
from tools.harness.raw import CLOSE, PING, PONG, TEXT, raw_socket
from tools.harness.shapes import TIME, option_ids
from tools.harness.wait import parse

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pinging(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pings every second."""
    settings = where.settings | {"PING_INTERVAL": "1"}
    with serving(tmp_path_factory.mktemp("pinging"), settings, where.instances) as server:
        yield server


async def test_welcome_comes_first_with_what_a_client_must_know(ws: Any) -> None:
    async with ws() as one, ws() as two:
        welcome = one.frames[0]
        assert welcome["type"] == "WELCOME"
        assert TIME.match(welcome["serverTime"])
        assert welcome["maxMessageBytes"] == 4096
        assert welcome["pingInterval"] > 0
        assert welcome["features"] == [
            "challenge",
            "deck",
            "pause",
            "reveal",
            "rounds",
            "stream",
            "verifiable",
        ]
        assert set(welcome["reconnect"]) == {"minDelay", "maxDelay"}
        assert 0 < welcome["reconnect"]["minDelay"] <= welcome["reconnect"]["maxDelay"]
        assert welcome["connectionId"]
        assert welcome["connectionId"] != two.frames[0]["connectionId"]


async def test_a_token_in_the_header_is_answered_after_welcome(bare: Any, owner: Person) -> None:
    async with bare(owner) as sock:
        told = await sock.expect("AUTHENTICATED")
        assert [frame["type"] for frame in sock.frames] == ["WELCOME", "AUTHENTICATED"]
        assert told["user"] == owner.user
        assert parse(told["expiresAt"]) > parse(sock.frames[0]["serverTime"])


async def test_a_token_in_auth_is_taken_at_any_time(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True)
    async with ws() as sock:
        await sock.join(poll)
        (await sock.vote(poll["id"], option_ids(poll)[:1], id="b")).refused("UNAUTHENTICATED")
        assert (await sock.auth(guest))["user"] == guest.user
        assert (await sock.auth(guest))["user"] == guest.user
        (await sock.vote(poll["id"], option_ids(poll)[:1], id="b")).fresh()


async def test_voting_and_retracting_without_a_token_is_unauthenticated_and_the_socket_stays(
    api: Api, owner: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    async with ws() as sock:
        error = (await sock.vote(poll["id"], option_ids(poll)[:1], id="b")).refused("UNAUTHENTICATED")
        assert error["id"] == "b"
        (await sock.retract(poll["id"], "r")).refused("UNAUTHENTICATED")
        await sock.settle()


async def test_another_users_token_on_the_same_socket_is_forbidden(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True)
    other = await api.guest()
    async with ws(guest) as sock:
        for who in (other, owner):
            await sock.send({"type": "AUTH", "token": who.token, "id": "a"})
            error = await sock.expect("ERROR")
            assert (error["code"], error["id"]) == ("FORBIDDEN", "a")
        vote = (await sock.vote(poll["id"], option_ids(poll)[:1])).fresh()
    assert (await api.state(poll, guest))["yourVote"]["id"] == vote["id"]
    assert (await api.state(poll, other))["yourVote"] is None


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
async def test_a_token_in_the_query_string_of_the_socket_counts_for_nothing(
    api: Api, owner: Person, ws: Any, name: str
) -> None:
    poll = await api.poll(owner)
    async with ws(path=f"/ws?{name}={owner.token}") as sock:
        (await sock.vote(poll["id"], option_ids(poll)[:1])).refused("UNAUTHENTICATED")
        assert sock.since(0, "AUTHENTICATED") == []


async def test_ping_is_answered_with_the_servers_time(ws: Any) -> None:
    async with ws() as sock:
        times = [parse(await sock.settle()) for _ in range(5)]
        assert times == sorted(times)


async def test_only_errors_and_ballots_carry_the_id(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    async with ws() as sock:
        for message in (
            {"type": "AUTH", "token": guest.token},
            {"type": "JOIN_POLL", "pollId": poll["id"]},
            {"type": "PING"},
            {"type": "LEAVE_POLL", "pollId": poll["id"]},
        ):
            await sock.send(message | {"id": "an-id"})
        await sock.expect("LEFT_POLL")
        assert (await sock.vote(poll["id"], option_ids(poll)[:1], id="an-id")).fresh()["id"] == "an-id"
        assert (await sock.retract(poll["id"], "another")).fresh()["id"] == "another"
        carrying = {frame["type"] for frame in sock.frames if "id" in frame}
        assert carrying == {"VOTE_ACCEPTED", "VOTE_RETRACTED"}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "PING", "extra": 1},
        {"type": "NO_SUCH_TYPE"},
        {"type": "VOTE", "pollId": "unknown", "optionIds": ["x"]},
        {"type": "VOTE"},
        {"type": "JOIN_POLL", "pollId": "unknown"},
        {"type": "LEAVE_POLL"},
        {"type": "RETRACT_VOTE", "pollId": "unknown"},
        {"type": "AUTH"},
    ],
    ids=lambda message: str(message)[:30],
)
async def test_an_error_repeats_the_id_of_its_message(ws: Any, message: dict[str, Any]) -> None:
    async with ws() as sock:
        await sock.send(message | {"id": "the-id"})
        assert (await sock.expect("ERROR"))["id"] == "the-id"
        await sock.send(message)
        assert "id" not in await sock.expect("ERROR")
        await sock.settle()


@pytest.mark.parametrize("kind", ["PING", "NO_SUCH_TYPE", "JOIN_POLL", "VOTE", "AUTH"])
@pytest.mark.parametrize("id_", ["", "x" * 65, "a b", 5, ["x"], {"a": 1}], ids=repr)
async def test_an_invalid_id_is_not_repeated(ws: Any, kind: str, id_: Any) -> None:
    async with ws() as sock:
        await sock.send({"type": kind, "id": id_})
        error = await sock.expect("ERROR")
        assert "id" not in error
        assert error["code"] in ("VALIDATION_FAILED", "UNKNOWN_TYPE")
        await sock.settle()


async def test_an_error_names_its_poll(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws(guest) as sock:
        error = (await sock.vote(poll["id"], option_ids(poll)[:1], id="b")).refused("FORBIDDEN")
        assert error["pollId"] == poll["id"]


async def test_a_close_by_the_client_is_answered(server: Server) -> None:
    async with raw_socket(server) as raw:
        await raw.message("WELCOME")
        await raw.send(CLOSE, (1000).to_bytes(2, "big"))
        assert await raw.closed() == 1000


# Pings ----------------------------------------------------------------------------------------------------------


async def test_the_server_pings_at_the_interval_that_it_names(pinging: Server) -> None:
    loop = asyncio.get_running_loop()
    async with raw_socket(pinging) as raw:
        assert (await raw.message("WELCOME"))["pingInterval"] == 1
        start = loop.time()
        for _ in range(3):
            await raw.send(PONG, await raw.next(PING, 3))
        assert 2 <= loop.time() - start + 0.5 < 6
        await raw.alive()


async def test_whoever_does_not_answer_a_ping_by_the_next_is_closed_with_4408(pinging: Server) -> None:
    async with raw_socket(pinging) as raw:
        await raw.message("WELCOME")
        await raw.next(PING, 3)
        assert await raw.closed(4) == 4408


async def test_messages_are_no_answer_to_a_ping(pinging: Server) -> None:
    async with raw_socket(pinging) as raw:
        await raw.next(PING, 3)
        await raw.send(TEXT, json.dumps({"type": "PING"}).encode())
        await raw.message("PONG")
        assert await raw.closed(4) == 4408


async def test_a_silent_socket_leaves_its_room(pinging: Server) -> None:
    from tools.harness.websocket import socket

    async with Api(pinging) as api:
        poll = await api.poll(await api.user())
        async with socket(pinging) as watcher, raw_socket(pinging) as raw:
            await watcher.join(poll)
            await raw.send(TEXT, json.dumps({"type": "JOIN_POLL", "pollId": poll["id"]}).encode())
            await watcher.expect("POLL_UPDATE", viewers=2)
            await watcher.viewers(poll, 1, timeout=6)
