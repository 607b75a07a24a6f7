"""The commands of operators on a running server, and the audit log."""

from collections.abc import Iterator

import pytest

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok, person, problem
from tools.harness.process import Server, run, serving
from tools.harness.wait import eventually
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

NEW = "even better than before"


def command(server: Server, *words: str, status: int = 0) -> str:
    done = run(words, server.of_instance(0))
    assert done.returncode == status, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout.strip()


async def log_in(api: Api, email: str, password: str) -> Person:
    return person(ok(await api.post("/auth/login", {"email": email, "password": password})), password)


async def refused(api: Api, email: str, password: str) -> None:
    body = {"email": email, "password": password}
    problem(await api.post("/auth/login", body), "INVALID_CREDENTIALS")


async def test_a_reset_prints_a_password_that_takes_one_log_in(api: Api, server: Server) -> None:
    who = await api.user()
    email = who.user["email"]
    password = command(server, "user", "reset-password", email).splitlines()[-1]
    problem(await api.post("/auth/refresh", {"refreshToken": who.refresh}), "UNAUTHENTICATED")
    await refused(api, email, who.password)
    back = await log_in(api, email, password)
    await refused(api, email, password)
    change = {"password": password, "newPassword": NEW}
    ok(await api.post("/auth/password", change, back))
    await log_in(api, email, NEW)
    log = command(server, "audit")
    for event in ("password_reset", "logged_in", "password_changed", "registered"):
        assert f" {event} {who.id} " in log
    assert password not in log and NEW not in log and email not in log


async def test_refused_log_ins_are_in_the_audit_log(api: Api, server: Server) -> None:
    who = await api.user()
    await refused(api, who.user["email"], "not that one")

    async def log() -> str:
        return command(server, "audit", "--limit", "1000")

    await eventually(log, lambda text: f"login_refused {who.id}" in text, 20)


async def test_a_suspended_account_is_refused_until_it_is_resumed(api: Api, server: Server) -> None:
    who = await api.user()
    async with socket(server, who) as sock:
        assert command(server, "user", "suspend", who.user["email"]).endswith("suspended")
        assert await sock.closed(8) == 4401
    problem(
        await eventually(lambda: api.get("/auth/me", who), lambda r: r.status_code == 401, 8),
        "UNAUTHENTICATED",
    )
    await refused(api, who.user["email"], who.password)
    assert f"{who.id} {who.user['email']}" in command(server, "user", "list")
    assert "suspended" in next(
        line for line in command(server, "user", "list").splitlines() if line.startswith(who.id)
    )
    command(server, "user", "suspend", "--resume", who.id)
    back = await log_in(api, who.user["email"], who.password)
    await eventually(lambda: api.get("/auth/me", back), lambda r: r.status_code == 200, 8)


async def test_an_account_and_a_poll_are_deleted(api: Api, server: Server) -> None:
    who, owner = await api.user(), await api.user()
    mine, first, second = await api.poll(who), await api.poll(owner), await api.poll(owner)
    command(server, "poll", "delete", first["id"])
    command(server, "poll", "delete", second["code"].lower())
    for poll in (first, second):
        problem(await api.get(f"/polls/{poll['id']}"), "NOT_FOUND")
    command(server, "poll", "delete", "nothing", status=1)
    command(server, "user", "delete", who.user["email"])
    await refused(api, who.user["email"], who.password)
    await eventually(lambda: api.get(f"/polls/{mine['id']}"), lambda r: r.status_code == 404, 60)
    command(server, "user", "delete", who.user["email"], status=1)
    log = command(server, "audit")
    assert f"poll_deleted - {first['id']}" in log and f"account_deleted {who.id}" in log


@pytest.fixture(scope="module")
def closed(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Nobody may register; users have two polls."""
    settings = where.settings | {"REGISTRATION": "closed", "MAX_POLLS_PER_USER": "2"}
    with serving(tmp_path_factory.mktemp("closed"), settings) as server:
        yield server


async def test_with_closed_registration_operators_add_accounts(closed: Server) -> None:
    async with Api(closed) as api:
        email = api.email()
        problem(await api.post("/auth/register", {"email": email, "password": "long enough"}), "FORBIDDEN")
        password = command(closed, "user", "add", email).splitlines()[-1]
        command(closed, "user", "add", email, status=1)
        who = await log_in(api, email, password)
        await api.guest()
        polls = [await api.poll(who) for _ in range(2)]
        body = {"question": "Tea?", "options": ["Yes", "No"]}
        problem(await api.post("/polls", body, who), "FORBIDDEN")
        assert (await api.delete(f"/polls/{polls[0]['id']}", who)).status_code == 204
        await eventually(lambda: api.post("/polls", body, who), lambda r: r.status_code == 201)
