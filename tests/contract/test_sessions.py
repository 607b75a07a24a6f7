"""Refreshing, its grace, expiry and logout, over HTTP and on live sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok, person, problem
from tools.harness.process import Server, serving
from tools.harness.wait import eventually, parse
from tools.harness.websocket import bare_socket, socket

pytestmark = pytest.mark.anyio

LIFE = 2


@pytest.fixture(scope="module")
def hasty(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Access tokens live two seconds."""
    settings = where.settings | {"ACCESS_TOKEN_SECONDS": str(LIFE)}
    with serving(tmp_path_factory.mktemp("hasty"), settings, where.instances) as server:
        yield server


@pytest.fixture(scope="module")
def strict(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A spent refresh token answers for one second more; access tokens outlive the tests."""
    settings = where.settings | {"REFRESH_GRACE_SECONDS": "1"}
    with serving(tmp_path_factory.mktemp("strict"), settings, where.instances) as server:
        yield server


async def refresh(api: Api, token: str) -> Person:
    return person(ok(await api.post("/auth/refresh", {"refreshToken": token})))


async def refused(probe: Callable[[], Awaitable[httpx.Response]], code: str, server: Server) -> None:
    """At once with one instance, as soon as word of it went round with several."""
    if server.size == 1:
        problem(await probe(), code)
    else:
        problem(await eventually(probe, lambda response: response.status_code == 401, 6), code)


async def test_refreshing_answers_a_new_pair_for_the_same_user(api: Api, guest: Person) -> None:
    renewed = await refresh(api, guest.refresh)
    assert renewed.user == guest.user
    assert renewed.refresh != guest.refresh
    ok(await api.get("/auth/me", renewed))
    ok(await api.get("/auth/me", await refresh(api, renewed.refresh)))


async def test_a_refresh_leaves_earlier_access_tokens_valid(api: Api, guest: Person) -> None:
    await refresh(api, guest.refresh)
    ok(await api.get("/auth/me", guest))


async def test_a_spent_refresh_token_answers_again_within_its_grace_for_the_same_session(
    api: Api, server: Server, guest: Person
) -> None:
    first, second = await refresh(api, guest.refresh), await refresh(api, guest.refresh)
    ok(await api.get("/auth/me", first))
    ok(await api.get("/auth/me", second))
    ok(await api.get("/auth/me", await refresh(api, first.refresh)))
    assert (await api.post("/auth/logout", None, second)).status_code == 204
    for who in (guest, first, second):
        await refused(lambda who=who: api.get("/auth/me", who), "UNAUTHENTICATED", server)  # type: ignore[misc]
        problem(await api.post("/auth/refresh", {"refreshToken": who.refresh}), "UNAUTHENTICATED")


async def test_copies_of_one_refresh_at_once_all_get_a_pair(api: Api, guest: Person) -> None:
    for renewed in await asyncio.gather(*(refresh(api, guest.refresh) for _ in range(8))):
        ok(await api.get("/auth/me", renewed))


async def test_a_spent_refresh_token_after_its_grace_revokes_the_session(strict: Server) -> None:
    async with Api(strict) as api:
        start = await api.guest()
        renewed = await refresh(api, start.refresh)
        stolen = await eventually(
            lambda: api.post("/auth/refresh", {"refreshToken": start.refresh}), lambda r: r.status_code != 200
        )
        problem(stolen, "UNAUTHENTICATED")
        problem(await api.post("/auth/refresh", {"refreshToken": renewed.refresh}), "UNAUTHENTICATED")
        await refused(lambda: api.get("/auth/me", renewed), "UNAUTHENTICATED", strict)


async def test_reuse_of_a_spent_refresh_token_closes_the_sessions_sockets(strict: Server) -> None:
    async with Api(strict) as api:
        start = await api.guest()
        renewed = await refresh(api, start.refresh)
        async with socket(strict, renewed) as sock:
            again = await eventually(
                lambda: api.post("/auth/refresh", {"refreshToken": start.refresh}),
                lambda r: r.status_code != 200,
            )
            problem(again, "UNAUTHENTICATED")
            assert await sock.closed() == 4401


@pytest.mark.parametrize("kind", ["garbage", "access token", "cut", "long"])
async def test_a_bad_refresh_token_is_unauthenticated(api: Api, guest: Person, kind: str) -> None:
    token = {
        "garbage": "garbage",
        "access token": guest.token,
        "cut": guest.refresh[:-1],
        "long": "x" * 5000,
    }[kind]
    problem(await api.post("/auth/refresh", {"refreshToken": token}), "UNAUTHENTICATED")


@pytest.mark.parametrize("token", [5, None, ["x"]], ids=["number", "null", "list"])
async def test_a_refresh_token_that_is_no_string_is_a_validation_error(api: Api, token: Any) -> None:
    problem(await api.post("/auth/refresh", {"refreshToken": token}), "VALIDATION_FAILED", "refreshToken")
    problem(await api.post("/auth/refresh", {}), "VALIDATION_FAILED", "refreshToken")


async def test_logout_ends_the_sessions_access_and_refresh_tokens(api: Api, server: Server) -> None:
    guest = await api.guest()
    response = await api.post("/auth/logout", None, guest)
    assert (response.status_code, response.content) == (204, b"")
    await refused(lambda: api.get("/auth/me", guest), "UNAUTHENTICATED", server)
    await refused(lambda: api.post("/auth/logout", None, guest), "UNAUTHENTICATED", server)
    problem(await api.post("/auth/refresh", {"refreshToken": guest.refresh}), "UNAUTHENTICATED")


async def test_a_spent_refresh_token_does_not_survive_logout_within_its_grace(api: Api) -> None:
    guest = await api.guest()
    renewed = await refresh(api, guest.refresh)
    assert (await api.post("/auth/logout", {}, renewed)).status_code == 204
    problem(await api.post("/auth/refresh", {"refreshToken": guest.refresh}), "UNAUTHENTICATED")


async def test_logout_needs_a_token(api: Api) -> None:
    problem(await api.post("/auth/logout"), "UNAUTHENTICATED")


async def test_logout_leaves_other_sessions_of_the_user(api: Api, ws: Any) -> None:
    user = await api.user()
    body = {"email": user.user["email"], "password": user.password}
    other = person(ok(await api.post("/auth/login", body)))
    async with ws(other) as sock:
        assert (await api.post("/auth/logout", None, user)).status_code == 204
        ok(await api.get("/auth/me", other))
        ok(await api.post("/auth/refresh", {"refreshToken": other.refresh}))
        await sock.settle()


async def test_logout_closes_the_sessions_sockets_with_4401_at_once(api: Api, ws: Any, owner: Person) -> None:
    poll = await api.poll(owner)
    guest = await api.guest()
    async with ws(guest) as by_header, ws() as by_message, ws() as anonymous, ws(owner) as another:
        await by_message.auth(guest)
        for sock in (by_header, by_message, anonymous, another):
            await sock.join(poll)
        assert (await api.post("/auth/logout", None, guest)).status_code == 204
        assert await by_header.closed(2) == 4401
        assert await by_message.closed(2) == 4401
        await anonymous.viewers(poll, 2)
        await another.settle()


async def test_a_token_of_an_ended_session_is_refused_on_a_socket(
    api: Api, server: Server, bare: Any
) -> None:
    guest = await api.guest()
    await api.post("/auth/logout", None, guest)
    await refused(lambda: api.get("/auth/me", guest), "UNAUTHENTICATED", server)
    async with bare(guest) as sock:
        assert (await sock.expect("ERROR"))["code"] == "UNAUTHENTICATED"
        assert await sock.closed() == 4401


async def test_a_new_session_of_the_same_user_takes_a_socket_over(api: Api, ws: Any) -> None:
    first = await api.user()
    body = {"email": first.user["email"], "password": first.password}
    second = person(ok(await api.post("/auth/login", body)))
    async with ws(first) as sock:
        await sock.auth(second)
        await api.post("/auth/logout", None, first)
        problem(await api.post("/auth/refresh", {"refreshToken": first.refresh}), "UNAUTHENTICATED")
        await sock.settle()
        await api.post("/auth/logout", None, second)
        assert await sock.closed() == 4401


async def test_the_life_of_an_access_token_is_told(hasty: Server) -> None:
    async with Api(hasty) as api:
        assert ok(await api.post("/auth/guest"), 201)["expiresIn"] == LIFE


async def test_an_expired_token_is_told_from_a_bad_one_and_a_refresh_goes_on(hasty: Server) -> None:
    async with Api(hasty) as api:
        guest = await api.guest()
        late = await eventually(lambda: api.get("/auth/me", guest), lambda r: r.status_code != 200)
        problem(late, "TOKEN_EXPIRED")
        problem(await api.get("/polls/unknown", guest), "TOKEN_EXPIRED")
        ok(await api.get("/auth/me", await refresh(api, guest.refresh)))


async def test_an_expired_token_closes_a_socket_with_4401_after_the_upgrade(hasty: Server) -> None:
    async with Api(hasty) as api:
        guest = await api.guest()
        await eventually(lambda: api.get("/auth/me", guest), lambda r: r.status_code != 200)
        async with bare_socket(hasty, guest) as sock:
            assert (await sock.expect("ERROR"))["code"] == "TOKEN_EXPIRED"
            assert await sock.closed() == 4401
            assert [frame["type"] for frame in sock.frames] == ["WELCOME", "ERROR"]
        async with socket(hasty) as sock:
            await sock.send({"type": "AUTH", "token": guest.token})
            assert (await sock.expect("ERROR"))["code"] == "TOKEN_EXPIRED"
            assert await sock.closed() == 4401


async def test_a_live_socket_is_told_that_its_token_expired_and_closed_with_4401(hasty: Server) -> None:
    async with Api(hasty) as api, socket(hasty) as sock:
        before = parse(await sock.settle())
        guest = await api.guest()
        after = parse(await sock.settle())
        expires = parse((await sock.auth(guest))["expiresAt"])
        error = await sock.expect("ERROR", timeout=LIFE + 3)
        assert error["code"] == "TOKEN_EXPIRED"
        assert await sock.closed() == 4401
        life, skew = timedelta(seconds=LIFE), timedelta(seconds=0.5)  # of two instances
        assert before + life - skew <= expires <= after + life + skew


async def test_a_live_socket_renews_its_token_by_auth_and_lives_on(hasty: Server) -> None:
    async with Api(hasty) as api, socket(hasty) as control, socket(hasty) as sock:
        current = await api.guest()
        first = parse((await sock.auth(current))["expiresAt"])
        await control.auth(current)

        async def renew() -> datetime:
            nonlocal current
            current = await refresh(api, current.refresh)
            return parse((await sock.auth(current))["expiresAt"])

        # To the end: however long that takes here, the newest token is new.
        until = await eventually(renew, lambda _: not control.is_open, LIFE + 3)
        assert await control.closed() == 4401
        await sock.settle()
        assert until > first
