"""Budgets per client address and account, and whose address that is."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.targets import Target
from tests.plugin import needing_services
from tools.harness.http import Api, ok, problem
from tools.harness.process import Server, serving
from tools.harness.wait import eventually
from tools.harness.websocket import socket
from tools.servers import nginx

pytestmark = pytest.mark.anyio

WRONG = "not that one"


@pytest.fixture(scope="module")
def proxied(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Believes what the tests say of their address; guests are few per address."""
    settings = where.settings | {
        "TRUSTED_PROXIES": "127.0.0.0/8, ::1",
        "GUEST_RATE": "10/h:5",
        "CODE_MISS_RATE": "10/h:5",
    }
    with serving(tmp_path_factory.mktemp("proxied"), settings, where.instances) as server:
        yield server


@pytest.fixture(scope="module")
def bare_server(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Believes nobody; guests are few per address."""
    settings = where.settings | {"GUEST_RATE": "10/h:5"}
    with serving(tmp_path_factory.mktemp("bare"), settings, where.instances) as server:
        yield server


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def log_in(api: Api, email: str, password: str, address: str) -> Any:
    return await api.post("/auth/login", {"email": email, "password": password}, headers=of(address))


async def test_a_client_address_has_a_budget_of_guests_over_all_instances(proxied: Server) -> None:
    async with Api(proxied) as api:
        for _ in range(5):
            ok(await api.post("/auth/guest", headers=of("203.0.113.1")), 201)
        for _ in range(2):
            refused = problem(await api.post("/auth/guest", headers=of("203.0.113.1")), "RATE_LIMITED")
            assert 0 < refused["retryAfter"] <= 360
        ok(await api.post("/auth/guest", headers=of("203.0.113.2")), 201)


async def test_addresses_of_one_ipv6_network_share_a_budget(proxied: Server) -> None:
    async with Api(proxied) as api:
        for number in range(5):
            ok(await api.post("/auth/guest", headers=of(f"2001:db8:0:7::{number}")), 201)
        problem(await api.post("/auth/guest", headers=of("2001:db8:0:7:ffff::1")), "RATE_LIMITED")
        ok(await api.post("/auth/guest", headers=of("2001:db8:0:8::1")), 201)


async def test_a_budget_counts_the_rightmost_address_that_no_proxy_has(proxied: Server) -> None:
    async with Api(proxied) as api:
        for number in range(5):
            headers = of(f"198.51.100.{number}, 203.0.113.3, 127.0.0.9")
            ok(await api.post("/auth/guest", headers=headers), 201)
        problem(await api.post("/auth/guest", headers=of("203.0.113.3")), "RATE_LIMITED")
        problem(await api.post("/auth/guest", headers={"Forwarded": "for=203.0.113.3"}), "RATE_LIMITED")


async def test_forwarded_addresses_of_strangers_are_not_believed(bare_server: Server) -> None:
    async with Api(bare_server) as api:
        codes = [
            (await api.post("/auth/guest", headers=of(f"203.0.113.{number}"))).status_code
            for number in range(8)
        ]
        assert codes == [201] * 5 + [429] * 3
        ok(await api.get("/healthz"))


async def test_an_account_has_a_budget_of_log_ins_per_network_and_its_owner_another_elsewhere(
    proxied: Server,
) -> None:
    async with Api(proxied) as api:
        email = api.email()
        ok(await api.post("/auth/register", {"email": email, "password": "long enough"}), 201)
        for number in range(10):
            problem(await log_in(api, email, WRONG, f"198.51.100.{number}"), "INVALID_CREDENTIALS")
        for password in (WRONG, "long enough"):
            refused = problem(await log_in(api, email.upper(), password, "198.51.100.99"), "RATE_LIMITED")
            assert 0 < refused["retryAfter"] <= 6
        ok(await log_in(api, email, "long enough", "198.51.101.1"))


async def test_unknown_accounts_have_the_same_budget_of_log_ins(proxied: Server) -> None:
    async with Api(proxied) as api:
        for email in (api.email(), "no e-mail"):
            codes = [
                (await log_in(api, email, WRONG, f"2001:db8:0:9::{number}")).json()["code"]
                for number in range(12)
            ]
            assert codes == ["INVALID_CREDENTIALS"] * 10 + ["RATE_LIMITED"] * 2


async def test_misses_of_join_codes_have_a_budget_and_hits_cost_nothing(proxied: Server) -> None:
    async with Api(proxied) as api:
        owner = await api.user()
        poll = await api.poll(owner)
        for _ in range(20):
            ok(await api.get(f"/join/{poll['code']}", headers=of("203.0.113.50")))
        for _ in range(5):
            problem(await api.get("/join/AAAAAA", headers=of("203.0.113.50")), "NOT_FOUND")
        problem(await api.get("/join/AAAAAA", headers=of("203.0.113.50")), "RATE_LIMITED")
        problem(await api.get("/join/AAAAAA", headers=of("203.0.113.51")), "NOT_FOUND")


async def test_misses_of_join_codes_on_sockets_count_in_the_same_budget(proxied: Server) -> None:
    async with Api(proxied) as api, socket(proxied) as sock:
        for _ in range(5):
            await sock.send({"type": "JOIN_POLL", "code": "AAAAAA"})
            assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
        await sock.send({"type": "JOIN_POLL", "code": "AAAAAA"})
        assert (await sock.expect("ERROR"))["code"] == "RATE_LIMITED"
        problem(await api.get("/join/AAAAAA"), "RATE_LIMITED")


async def test_refusals_are_counted(proxied: Server) -> None:
    async with Api(proxied) as api:
        for _ in range(6 * proxied.size):
            await api.post("/auth/guest", headers=of("203.0.113.80"))
        text = (await api.get("/metrics", base=proxied.url(0))).text
        assert 'pollroom_budget_refusals_total{budget="guest"}' in text
        assert "203.0.113" not in text


async def test_the_usual_budget_of_guests_is_100_per_second_in_bursts_of_500(
    where: Target, tmp_path_factory: pytest.TempPathFactory
) -> None:
    opening = serving(tmp_path_factory.mktemp("usual"), where.settings)
    server = await asyncio.to_thread(opening.__enter__)
    async with Api(server) as api:
        # Refreshing writes nothing for a bad token: the cheapest call with such a budget.
        async def bad() -> int:
            return (await api.post("/auth/refresh", {"refreshToken": "bad"})).status_code

        codes = [await bad() for _ in range(20)]
        for _ in range(40):  # a slow machine never spends the budget
            codes += await asyncio.gather(*(bad() for _ in range(40)))
            if 429 in codes:
                break
        assert codes.count(401) >= 500 and codes[:500] == [401] * 500
        if 429 in codes:
            await eventually(bad, lambda status: status == 401, 2)
    await asyncio.to_thread(opening.__exit__, None, None, None)


async def guest_from(url: str, address: str, **headers: str) -> httpx.Response:
    """``address``: of the machine itself, which the connection comes from."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.post(f"{url}/auth/guest", headers=headers)


async def test_nginx_in_front_names_the_client_and_nobody_else_does(
    where: Target, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = where.settings | {"TRUSTED_PROXIES": "127.0.0.1", "GUEST_RATE": "10/h:5"}
    folder = tmp_path_factory.mktemp("nginx")
    with (
        needing_services(),
        serving(tmp_path_factory.mktemp("behind"), settings) as server,
        nginx(folder, server.url(0).removeprefix("http://")) as proxy,
    ):
        for number in range(5):
            forged = {"X-Forwarded-For": f"203.0.113.{number}"}
            assert (await guest_from(proxy, "127.0.0.5", **forged)).status_code == 201
        refused = await guest_from(proxy, "127.0.0.5", **{"X-Forwarded-For": "203.0.113.9"})
        assert refused.status_code == 429
        assert (await guest_from(proxy, "127.0.0.6")).status_code == 201
        spoofed = await guest_from(server.url(0), "127.0.0.5", **{"X-Forwarded-For": "203.0.113.9"})
        assert spoofed.status_code == 429, "a stranger's header is not believed"


async def test_a_budget_survives_a_restart(where: Target, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = where.settings | {"GUEST_RATE": "10/h:5"}
    with serving(tmp_path_factory.mktemp("restarted"), settings) as server:
        async with Api(server) as api:
            while (await api.post("/auth/guest")).status_code == 201:
                pass
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        async with Api(server) as api:
            problem(await api.post("/auth/guest"), "RATE_LIMITED")
