"""Registering, log-in, guests, and who a token speaks for."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import check_session

pytestmark = pytest.mark.anyio


def registration(**fields: Any) -> dict[str, Any]:
    return {"email": Api.email(), "password": "long enough"} | fields


async def test_registering_answers_201_with_the_user_and_tokens(api: Api) -> None:
    email = Api.email()
    response = await api.post("/auth/register", {"email": email, "password": "long enough", "name": "Ann"})
    session = ok(response, 201)
    check_session(session)
    assert session["expiresIn"] == 900
    assert session["user"]["email"].casefold() == email.casefold()
    assert (session["user"]["name"], session["user"]["guest"]) == ("Ann", False)
    assert "long enough" not in response.text


async def test_the_name_is_null_unless_given(api: Api) -> None:
    assert ok(await api.post("/auth/register", registration()), 201)["user"]["name"] is None
    assert ok(await api.post("/auth/register", registration(name=None)), 201)["user"]["name"] is None
    assert ok(await api.post("/auth/guest"), 201)["user"]["name"] is None


async def test_an_email_is_taken_without_regard_to_case(api: Api) -> None:
    email = Api.email()
    ok(await api.post("/auth/register", registration(email=email)), 201)
    problem(await api.post("/auth/register", registration(email=email)), "EMAIL_TAKEN")
    problem(await api.post("/auth/register", registration(email=email.upper())), "EMAIL_TAKEN")


async def test_logging_in_answers_the_same_and_without_regard_to_the_emails_case(api: Api) -> None:
    email = Api.email()
    user = ok(await api.post("/auth/register", registration(email=email)), 201)["user"]
    for spelt in (email, email.upper(), email.title()):
        session = ok(await api.post("/auth/login", {"email": spelt, "password": "long enough"}))
        check_session(session)
        assert session["user"] == user


async def test_a_wrong_password_and_an_unknown_user_are_answered_alike(api: Api) -> None:
    email = Api.email()
    ok(await api.post("/auth/register", registration(email=email)), 201)
    wrong = problem(
        await api.post("/auth/login", {"email": email, "password": "not that one"}), "INVALID_CREDENTIALS"
    )
    unknown = problem(
        await api.post("/auth/login", {"email": Api.email(), "password": "not that one"}),
        "INVALID_CREDENTIALS",
    )
    assert {n: v for n, v in wrong.items() if n != "instance"} == {
        n: v for n, v in unknown.items() if n != "instance"
    }


async def test_passwords_differ_by_case_and_are_not_cut(api: Api) -> None:
    email, password = Api.email(), "x" * 127 + "y"
    ok(await api.post("/auth/register", {"email": email, "password": password}), 201)
    for wrong in ("x" * 127 + "z", "x" * 127 + "Y", "x" * 127):
        problem(await api.post("/auth/login", {"email": email, "password": wrong}), "INVALID_CREDENTIALS")
    ok(await api.post("/auth/login", {"email": email, "password": password}))


@pytest.mark.parametrize("password", ["", "1234567", "x" * 129], ids=["empty", "7", "129"])
async def test_a_password_of_other_than_8_to_128_characters_is_refused(api: Api, password: str) -> None:
    problem(
        await api.post("/auth/register", registration(password=password)), "VALIDATION_FAILED", "password"
    )


@pytest.mark.parametrize("password", ["1x3y5z7w", "é" * 8, "🙂" * 128], ids=["8", "8 points", "128 points"])
async def test_a_password_of_8_to_128_code_points_is_taken(api: Api, password: str) -> None:
    ok(await api.post("/auth/register", registration(password=password)), 201)


@pytest.mark.parametrize(
    "email",
    ["", "plain", "@example.org", "someone@", "a@b@c", "@", "x" * 243 + "@example.org", 5, None, ["a@b"]],
    ids=["empty", "no at", "no left", "no right", "two ats", "at", "255", "number", "null", "list"],
)
async def test_an_email_needs_one_at_with_something_on_both_sides_and_at_most_254_characters(
    api: Api, email: Any
) -> None:
    problem(await api.post("/auth/register", registration(email=email)), "VALIDATION_FAILED", "email")


async def test_an_email_of_254_characters_is_taken(api: Api) -> None:
    email = Api.email()
    ok(await api.post("/auth/register", registration(email="x" * (254 - len(email)) + email)), 201)


async def test_strings_lose_their_outer_white_space(api: Api) -> None:
    email = Api.email()
    user = ok(await api.post("/auth/register", registration(email=f"  {email}\n", name="\t Ann  Lee ")), 201)[
        "user"
    ]
    assert (user["email"].casefold(), user["name"]) == (email.casefold(), "Ann  Lee")
    problem(await api.post("/auth/register", registration(email=email)), "EMAIL_TAKEN")


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 101, "a\0b", 7], ids=["empty", "blank", "101", "nul", "number"]
)
async def test_a_name_has_1_to_100_characters(api: Api, name: Any) -> None:
    problem(await api.post("/auth/register", registration(name=name)), "VALIDATION_FAILED", "name")
    problem(await api.post("/auth/guest", {"name": name}), "VALIDATION_FAILED", "name")


async def test_a_name_of_100_code_points_is_taken(api: Api) -> None:
    assert ok(await api.post("/auth/guest", {"name": "🙂" * 100}), 201)["user"]["name"] == "🙂" * 100


@pytest.mark.parametrize("missing", ["email", "password"])
async def test_a_missing_field_is_named(api: Api, missing: str) -> None:
    body = registration()
    del body[missing]
    problem(await api.post("/auth/register", body), "VALIDATION_FAILED", missing)
    problem(await api.post("/auth/login", body), "VALIDATION_FAILED", missing)


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/login", "/auth/guest", "/auth/refresh"])
async def test_an_unknown_field_is_refused_and_named(api: Api, path: str) -> None:
    body: dict[str, Any] = {"/auth/guest": {}, "/auth/refresh": {"refreshToken": "x"}}.get(
        path, {"email": Api.email(), "password": "long enough"}
    )
    problem(await api.post(path, body | {"nmae": "Ann"}), "VALIDATION_FAILED", "nmae")


async def test_a_guest_has_no_email_and_needs_no_body(api: Api) -> None:
    for response in (
        await api.post("/auth/guest"),
        await api.post("/auth/guest", {}),
        await api.post("/auth/guest", {"name": "Bo"}),
    ):
        session = ok(response, 201)
        check_session(session)
        assert (session["user"]["email"], session["user"]["guest"]) == (None, True)


async def test_a_guest_may_not_create_polls(api: Api, guest: Person) -> None:
    problem(await api.post("/polls", {"question": "Q", "options": ["a", "b"]}, guest), "FORBIDDEN")


async def test_me_is_the_user_of_the_token(api: Api, owner: Person, guest: Person) -> None:
    assert ok(await api.get("/auth/me", owner)) == {"user": owner.user}
    assert ok(await api.get("/auth/me", guest)) == {"user": guest.user}
    problem(await api.get("/auth/me"), "UNAUTHENTICATED")


async def test_clients_of_old_log_in_and_out_at_the_root(api: Api) -> None:
    user = await api.user()
    body = {"email": user.user["email"], "password": user.password}
    session = ok(await api.post("/login", body))
    check_session(session)
    problem(await api.post("/login", body | {"password": "not that one"}), "INVALID_CREDENTIALS")
    assert (await api.post("/logout", None, session["accessToken"])).status_code == 204
    problem(await api.post("/auth/refresh", {"refreshToken": session["refreshToken"]}), "UNAUTHENTICATED")
    ok(await api.get("/auth/me", user))


def _part(data: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def _payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _signed(token: str, key: bytes) -> str:
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(_payload(token))}"
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _altered(token: str) -> str:
    """One character in the middle of the last part is another one."""
    head, _, mac = token.rpartition(".")
    middle = len(mac) // 2
    return f"{head}.{mac[:middle]}{'A' if mac[middle] != 'A' else 'B'}{mac[middle + 1 :]}"


def bad_tokens(person: Person) -> dict[str, str]:
    token = person.token
    head, payload, mac = token.split(".")
    other = _part(_payload(token) | {"sub": "someone-else"})
    return {
        "garbage": "garbage",
        "three parts": "a.b.c",
        "signature altered": _altered(token),
        "signature cut": f"{head}.{payload}.",
        "payload altered": f"{head}.{other}.{mac}",
        "alg none": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "another key": _signed(token, b"another key of thirty-two bytes!!"),
        "empty key": _signed(token, b""),
        "refresh token": person.refresh,
        "very long": "x" * 6000,
    }


@pytest.fixture
def bad(owner: Person) -> dict[str, str]:
    return bad_tokens(owner)


async def test_a_forged_or_altered_token_is_unauthenticated(api: Api, bad: dict[str, str]) -> None:
    for kind, token in bad.items():
        response = await api.get("/auth/me", token)
        assert response.status_code == 401, kind
        problem(response, "UNAUTHENTICATED")


async def test_a_bad_token_is_401_also_where_none_is_needed(
    api: Api, owner: Person, bad: dict[str, str]
) -> None:
    poll = await api.poll(owner)
    for path in (f"/polls/{poll['id']}", f"/polls/{poll['id']}/results", f"/join/{poll['code']}"):
        ok(await api.get(path))
        for token in bad.values():
            problem(await api.get(path, token), "UNAUTHENTICATED")
    problem(await api.post("/auth/guest", {}, "garbage"), "UNAUTHENTICATED")


@pytest.mark.parametrize("header", ["Bearer", "Basic dTpw", "garbage", "Bearer a b", "Token x"])
async def test_another_authorization_than_a_bearer_token_is_unauthenticated(api: Api, header: str) -> None:
    problem(await api.get("/auth/me", headers={"Authorization": header}), "UNAUTHENTICATED")


async def test_a_token_in_the_query_string_counts_for_nothing(api: Api, owner: Person) -> None:
    for name in ("token", "access_token", "accessToken"):
        problem(await api.get(f"/auth/me?{name}={owner.token}"), "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "kind",
    ["garbage", "signature altered", "payload altered", "alg none", "another key", "refresh token"],
)
async def test_a_bad_token_on_a_socket_is_an_error_and_then_4401(
    bare: Any, ws: Any, bad: dict[str, str], kind: str
) -> None:
    async with ws() as sock:
        await sock.send({"type": "AUTH", "token": bad[kind], "id": "the-auth"})
        error = await sock.expect("ERROR")
        assert (error["code"], error["id"]) == ("UNAUTHENTICATED", "the-auth")
        assert await sock.closed() == 4401
    async with bare(bad[kind]) as sock:
        assert (await sock.expect("ERROR"))["code"] == "UNAUTHENTICATED"
        assert await sock.closed() == 4401
        assert [frame["type"] for frame in sock.frames] == ["WELCOME", "ERROR"]
