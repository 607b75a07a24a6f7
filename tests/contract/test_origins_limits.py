"""Origins, CORS, and the budgets of messages."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok
from tools.harness.process import Server, serving
from tools.harness.raw import raw_socket
from tools.harness.shapes import option_ids
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

ALLOWED = "https://vote.example"
SECOND = "http://localhost:5173"
APP = "capacitor://localhost"


@pytest.fixture(scope="module")
def strict(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Five messages a second and socket; two foreign origins are allowed."""
    settings = where.settings | {"MESSAGE_RATE": "5", "ALLOWED_ORIGINS": f"{ALLOWED},{SECOND},{APP}"}
    with serving(tmp_path_factory.mktemp("strict"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def usual(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Budgets as they come."""
    with serving(tmp_path_factory.mktemp("usual"), where.settings | {"MESSAGE_RATE": "50"}) as server:
        yield server


FOREIGN = [
    "null",
    "https://evil.example",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://{host}.evil.example",
    "http://evil.example/{host}",
    "http://evil.example@{host}",
    "http://{host}@evil.example",
    "ftp://{host}",
    "file://",
    "{host}",
    "http://",
    "garbage",
    "http://{host}:80",
    "http://x{host}",
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_403_at_the_upgrade(server: Server, origin: str) -> None:
    host = urlsplit(server.url(0)).netloc
    async with raw_socket(server, {"Host": host, "Origin": origin.replace("{host}", host)}) as raw:
        assert raw.status == 403
        assert raw.headers["content-type"] == "application/problem+json"
        problem = json.loads(raw.body)
        assert (problem["status"], problem["code"]) == (403, "FORBIDDEN")
        assert "ALLOWED_ORIGINS" in problem["detail"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_origin_that_names_the_server_itself_is_taken(server: Server, scheme: str) -> None:
    for host in (urlsplit(server.url(0)).netloc, "vote.example.org", "vote.example.org:8443"):
        async with raw_socket(server, {"Host": host, "Origin": f"{scheme}://{host}"}) as raw:
            assert raw.status == 101
            await raw.alive()


async def test_no_origin_is_taken(server: Server) -> None:
    async with raw_socket(server) as raw:
        assert raw.status == 101


async def test_a_host_without_its_port_is_not_the_host_with_one(server: Server) -> None:
    async with raw_socket(
        server, {"Host": "vote.example.org:8443", "Origin": "http://vote.example.org"}
    ) as raw:
        assert raw.status == 403


async def test_allowed_origins_are_taken_and_others_are_not(strict: Server) -> None:
    for origin, status in ((ALLOWED, 101), (SECOND, 101), (APP, 101),
                           ("ionic://localhost", 403), ("http://vote.example", 403), ("null", 403),
                           (f"{ALLOWED}:444", 403), (f"{ALLOWED}.evil.example", 403)):  # fmt: skip
        async with raw_socket(strict, {"Origin": origin}) as raw:
            assert raw.status == status, origin


async def test_an_allowed_origin_gets_cors_headers_also_on_errors(strict: Server) -> None:
    async with Api(strict) as api:
        for path in ("/healthz", "/polls/unknown", "/polls", "/nothing"):
            response = await api.get(path, headers={"Origin": ALLOWED})
            assert response.headers["access-control-allow-origin"] in (ALLOWED, "*"), path


async def test_a_foreign_origin_gets_no_cors_headers_and_is_not_refused(strict: Server, api: Api) -> None:
    async with Api(strict) as other:
        for client in (api, other):
            for origin in ("https://evil.example", "null"):
                response = await client.post("/auth/guest", {}, headers={"Origin": origin})
                ok(response, 201)
                assert not [n for n in response.headers if n.startswith("access-control-")], origin


async def test_a_preflight_is_answered_for_allowed_origins_alone(strict: Server) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    async with Api(strict) as api:
        response = await api.http.options(f"{strict.url()}/polls", headers=asked | {"Origin": ALLOWED})
        assert response.status_code in (200, 204)
        assert response.headers["access-control-allow-origin"] in (ALLOWED, "*")
        allowed = response.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))
        assert "POST" in response.headers["access-control-allow-methods"]
        for method in ("PATCH", "DELETE"):
            response = await api.http.options(
                f"{strict.url()}/polls/x",
                headers=asked | {"Origin": ALLOWED, "Access-Control-Request-Method": method},
            )
            assert method in response.headers["access-control-allow-methods"]
        foreign = await api.http.options(
            f"{strict.url()}/polls", headers=asked | {"Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in foreign.headers


# Budgets --------------------------------------------------------------------------------------------------------


async def test_a_burst_of_100_messages_is_within_the_usual_budget(usual: Server) -> None:
    async with socket(usual) as sock:
        for _ in range(100):
            await sock.send({"type": "PING"})
        for _ in range(100):
            await sock.expect("PONG")
        assert sock.since(0, "ERROR") == []


async def test_more_than_the_usual_budget_is_rate_limited(usual: Server) -> None:
    loop = asyncio.get_running_loop()
    async with socket(usual) as sock:
        start = loop.time()
        for _ in range(180):
            await sock.send({"type": "PING"})
        await sock.until(
            lambda: True if len(sock.since(0, "PONG")) + len(sock.since(0, "ERROR")) >= 180 else None,
            "180 answers",
        )
        answered = len(sock.since(0, "PONG"))
        assert 100 <= answered <= 100 + 50 * (loop.time() - start) + 1
        assert {frame["code"] for frame in sock.since(0, "ERROR")} == {"RATE_LIMITED"}


async def exhaust(sock: Any) -> None:
    """Send until the first refusal."""
    for _ in range(100):
        await sock.send({"type": "PING"})
        if (await sock.either("PONG", "ERROR"))["type"] == "ERROR":
            return
    raise AssertionError("100 messages at once and none refused")


async def test_a_ballot_over_the_budget_is_not_taken_and_told_when_to_come_back(strict: Server) -> None:
    async with Api(strict) as api:
        poll = await api.poll(await api.user(), guests=True, allowChange=True)
        guest = await api.guest()
        async with socket(strict, guest) as sock:
            taken = None
            for number in range(64):  # where a fifth of a second passed in between, the ballot is within it
                await exhaust(sock)
                answer = await sock.vote(poll["id"], option_ids(poll)[:1], id=f"b{number}")
                if answer.code is not None:
                    break
                taken = answer.fresh()["id"]
            error = answer.refused("RATE_LIMITED")
            assert error["id"] == f"b{number}"
            assert 0 < error["retryAfter"] < 60
            standing = (await api.state(poll, guest))["yourVote"]
            assert (standing and standing["id"]) == taken
            await asyncio.sleep(error["retryAfter"])
            (await sock.vote(poll["id"], option_ids(poll)[:1], id=error["id"])).fresh()


async def test_100_refused_in_a_row_close_with_4429(strict: Server) -> None:
    async with socket(strict) as sock:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(600):
                await sock.send({"type": "PING"})
        assert await sock.closed() == 4429
        errors = sock.since(0, "ERROR")
        assert len(errors) >= 100
        assert {frame["code"] for frame in errors} == {"RATE_LIMITED"}
        kinds = [frame["type"] for frame in sock.frames[-100:]]
        assert kinds == ["ERROR"] * 100


async def test_fewer_than_100_refused_leave_the_socket_open(strict: Server) -> None:
    async with socket(strict) as sock:
        await exhaust(sock)
        for _ in range(60):
            await sock.send({"type": "PING"})
        for _ in range(60):
            last = await sock.either("ERROR", "PONG")
        assert sock.is_open
        await asyncio.sleep(last.get("retryAfter", 0) + 0.2)
        await sock.settle()


async def test_one_sockets_budget_is_not_anothers(strict: Server) -> None:
    async with socket(strict) as loud, socket(strict) as quiet:
        await exhaust(loud)
        await quiet.settle()


async def test_bad_messages_count_as_messages(strict: Server) -> None:
    async with socket(strict) as sock:
        for _ in range(100):
            await sock.send_text("{")
            error = await sock.expect("ERROR")
            if error["code"] == "RATE_LIMITED":
                return
            assert error["code"] == "BAD_MESSAGE"
        raise AssertionError("100 bad messages and none over the budget")


async def test_100_guests_at_once_are_within_the_budget(usual: Server) -> None:
    async with Api(usual) as api:
        responses = await asyncio.gather(*(api.post("/auth/guest", {}) for _ in range(100)))
        assert {response.status_code for response in responses} == {201}


async def test_30_log_ins_of_different_accounts_at_once_are_within_the_budget(usual: Server) -> None:
    async with Api(usual) as api:
        users: list[Person] = [await api.user() for _ in range(30)]
        bodies = [{"email": user.user["email"], "password": user.password} for user in users]
        responses = await asyncio.gather(*(api.post("/auth/login", body) for body in bodies))
        assert {response.status_code for response in responses} == {200}
