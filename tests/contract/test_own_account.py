"""What users do with their own account: passwords, sessions, deletion, export."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok, person, problem
from tools.harness.process import Server, serving
from tools.harness.shapes import check_session, option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

NEW = "another one, and better"


async def log_in(api: Api, who: Person, password: str | None = None) -> Person:
    body = {"email": who.user["email"], "password": password or who.password}
    return person(ok(await api.post("/auth/login", body)), body["password"])


async def ended(api: Api, who: Person) -> None:
    """At once on this instance, soon on the others."""
    response = await eventually(lambda: api.get("/auth/me", who), lambda r: r.status_code == 401, 6)
    problem(response, "UNAUTHENTICATED")
    problem(await api.post("/auth/refresh", {"refreshToken": who.refresh}), "UNAUTHENTICATED")


async def sessions(api: Api, who: Person, query: str = "") -> list[dict[str, Any]]:
    body = ok(await api.get(f"/auth/sessions{query}", who))
    assert set(body) == {"items", "nextCursor"}
    for item in body["items"]:
        assert set(item) == {"id", "createdAt", "lastUsedAt", "current"}
    items: list[dict[str, Any]] = body["items"]
    return items


@pytest.mark.parametrize("password", ["password", "PassWord1", "1q2w3e4r5t", "12345678", "qwertyuiop"])
async def test_the_most_common_passwords_are_refused(api: Api, password: str) -> None:
    body = {"email": Api.email(), "password": password}
    problem(await api.post("/auth/register", body), "VALIDATION_FAILED", "password")
    problem(await api.post("/auth/login", body), "INVALID_CREDENTIALS")


async def test_a_password_with_the_emails_local_part_is_refused(api: Api) -> None:
    email = Api.email()
    local = email.partition("@")[0]
    body = {"email": email, "password": f"so {local.upper()} it is"}
    problem(await api.post("/auth/register", body), "VALIDATION_FAILED", "password")
    short = {"email": f"abc@{email.partition('@')[0]}.example", "password": "abc and more"}
    ok(await api.post("/auth/register", short), 201)


async def test_changing_the_password_answers_a_new_pair_and_ends_all_other_sessions(
    api: Api, server: Server
) -> None:
    who = await api.user()
    other, third = await log_in(api, who), await log_in(api, who)
    async with socket(server, who) as mine, socket(server, other) as theirs:
        body = {"password": who.password, "newPassword": NEW}
        session = ok(await api.post("/auth/password", body, who))
        check_session(session)
        renewed = person(session, NEW)
        assert await theirs.closed() == 4401
        await mine.settle()
    for gone in (other, third):
        await ended(api, gone)
    problem(await api.post("/auth/refresh", {"refreshToken": who.refresh}), "UNAUTHENTICATED")
    ok(await api.get("/auth/me", renewed))
    ok(await api.post("/auth/refresh", {"refreshToken": renewed.refresh}))
    credentials = {"email": who.user["email"], "password": who.password}
    problem(await api.post("/auth/login", credentials), "INVALID_CREDENTIALS")
    await log_in(api, who, NEW)


async def test_changing_the_password_needs_the_old_one_and_a_good_new_one(api: Api, guest: Person) -> None:
    who = await api.user()
    wrong = {"password": "not that one", "newPassword": NEW}
    problem(await api.post("/auth/password", wrong, who), "INVALID_CREDENTIALS")
    for weak in ("short", "password1", f"x{who.user['email'].partition('@')[0]}x"):
        body = {"password": who.password, "newPassword": weak}
        problem(await api.post("/auth/password", body, who), "VALIDATION_FAILED", "password")
    body = {"password": who.password, "newPassword": NEW}
    problem(await api.post("/auth/password", body), "UNAUTHENTICATED")
    problem(await api.post("/auth/password", body, guest), "FORBIDDEN")
    problem(await api.post("/auth/password", {"password": "x"}, who), "VALIDATION_FAILED", "newPassword")
    await log_in(api, who)


async def test_sessions_are_listed_newest_first_with_the_current_one(api: Api) -> None:
    who = await api.user()
    other = await log_in(api, who)
    found = await sessions(api, other)
    assert [item["current"] for item in found] == [True, False]
    assert [item["current"] for item in await sessions(api, who)] == [False, True]
    before = found[1]["lastUsedAt"]
    assert before == found[1]["createdAt"]
    ok(await api.post("/auth/refresh", {"refreshToken": who.refresh}))
    assert (await sessions(api, other))[1]["lastUsedAt"] > before
    await api.post("/auth/logout", None, who)
    assert len(await sessions(api, other)) == 1


async def test_sessions_are_paged_and_a_cursor_serves_its_user_and_list_alone(api: Api) -> None:
    who, stranger = await api.user(), await api.user()
    for _ in range(2):
        await log_in(api, who)
    page = ok(await api.get("/auth/sessions?limit=2", who))
    rest = ok(await api.get(f"/auth/sessions?limit=2&cursor={page['nextCursor']}", who))
    assert len(page["items"]) == 2 and len(rest["items"]) == 1 and rest["nextCursor"] is None
    for path, of in (("/auth/sessions", stranger), ("/polls", who)):
        problem(await api.get(f"{path}?cursor={page['nextCursor']}", of), "VALIDATION_FAILED", "cursor")
    problem(await api.get("/auth/sessions?limit=0", who), "VALIDATION_FAILED", "limit")


async def test_one_session_is_ended(api: Api, server: Server) -> None:
    who, stranger = await api.user(), await api.user()
    other = await log_in(api, who)
    (wanted,) = [item["id"] for item in await sessions(api, who) if not item["current"]]
    problem(await api.delete(f"/auth/sessions/{wanted}", stranger), "NOT_FOUND")
    problem(await api.delete("/auth/sessions/unknown", who), "NOT_FOUND")
    problem(await api.delete(f"/auth/sessions/{wanted}"), "UNAUTHENTICATED")
    async with socket(server, other) as sock:
        assert (await api.delete(f"/auth/sessions/{wanted}", who)).status_code == 204
        assert await sock.closed() == 4401
    await ended(api, other)
    problem(await api.delete(f"/auth/sessions/{wanted}", who), "NOT_FOUND")
    ok(await api.get("/auth/me", who))


async def test_all_sessions_are_ended_the_current_one_too(api: Api) -> None:
    who = await api.user()
    other = await log_in(api, who)
    assert (await api.delete("/auth/sessions", who)).status_code == 204
    for one in (who, other):
        await ended(api, one)
    await log_in(api, who)


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_an_account_is_deleted_with_its_polls_and_votes_elsewhere_stay(
    api: Api, server: Server, method: str
) -> None:
    path = "/auth/me" if method == "DELETE" else "/auth/me/delete"
    who, owner = await api.user(), await api.user()
    other = await log_in(api, who)
    own, elsewhere = await api.poll(who), await api.poll(owner)
    (await api.vote(who, elsewhere["id"], option_ids(elsewhere)[:1])).fresh()
    problem(await api.call(method, path, {"password": "not that one"}, who), "INVALID_CREDENTIALS")
    problem(await api.call(method, path, None, who), "VALIDATION_FAILED", "password")
    problem(await api.call(method, path, {"password": who.password}), "UNAUTHENTICATED")
    async with socket(server, other) as sock:
        response = await api.call(method, path, {"password": who.password}, who)
        assert (response.status_code, response.content) == (204, b"")
        assert await sock.closed() == 4401
    for one in (who, other):
        await ended(api, one)
    credentials = {"email": who.user["email"], "password": who.password}
    problem(await api.post("/auth/login", credentials), "INVALID_CREDENTIALS")
    gone = await eventually(lambda: api.get(f"/polls/{own['id']}"), lambda r: r.status_code == 404, 60)
    problem(gone, "NOT_FOUND")
    problem(await api.get(f"/join/{own['code']}"), "NOT_FOUND")
    assert (await api.tally(elsewhere))["voters"] == 1
    again = ok(await api.post("/auth/register", credentials), 201)
    assert again["user"]["id"] != who.id


async def test_a_guest_is_deleted_without_a_body(api: Api) -> None:
    for method, path in (("DELETE", "/auth/me"), ("POST", "/auth/me/delete")):
        guest = await api.guest()
        assert (await api.call(method, path, None, guest)).status_code == 204
        await ended(api, guest)


async def test_the_export_has_everything_but_hashes_and_tokens(api: Api) -> None:
    who, owner = await api.user(name="Ann"), await api.user()
    polls = [await api.poll(who) for _ in range(3)]
    elsewhere = await api.poll(owner, allowChange=True)
    options = option_ids(elsewhere)
    (await api.vote(who, elsewhere["id"], options[:1], id="first")).fresh()
    (await api.vote(who, elsewhere["id"], options[1:], id="second")).fresh()
    response = await eventually(
        lambda: api.get("/auth/me/export", who),
        lambda r: r.status_code == 200 and bool(r.json()["votes"]) and bool(r.json()["votes"][0]["earlier"]),
    )
    export = ok(response)
    assert set(export) == {"user", "sessions", "polls", "decks", "votes"}
    assert export["user"] == who.user
    assert [poll["id"] for poll in export["polls"]] == [poll["id"] for poll in reversed(polls)]
    assert export["decks"] == []
    (vote,) = export["votes"]
    assert (vote["pollId"], vote["id"], vote["optionIds"]) == (elsewhere["id"], "second", options[1:])
    assert [(old["id"], old["optionIds"]) for old in vote["earlier"]] == [("first", options[:1])]
    assert len(export["sessions"]) == 1
    for secret in (who.token, who.refresh, who.password, "argon2"):
        assert secret not in response.text
    problem(await api.get("/auth/me/export"), "UNAUTHENTICATED")


@pytest.fixture(scope="module")
def brief(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Sessions end 3 seconds after the log-in."""
    settings = where.settings | {"SESSION_DAYS": f"{3 / 86_400:.9f}"}
    with serving(tmp_path_factory.mktemp("brief"), settings, where.instances) as server:
        yield server


async def test_a_session_ends_after_its_days_whatever_is_refreshed(brief: Server) -> None:
    async with Api(brief) as api, socket(brief) as sock:
        who = await api.guest()
        await sock.auth(who)

        async def refresh() -> int:
            nonlocal who
            response = await api.post("/auth/refresh", {"refreshToken": who.refresh})
            if response.status_code == 200:
                who = person(response.json())
            return response.status_code

        await eventually(refresh, lambda status: status == 401, 10)
        problem(await api.get("/auth/me", who), "TOKEN_EXPIRED")
        assert await sock.closed() == 4401
