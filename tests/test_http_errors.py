"""Bad input over HTTP, below the services that vote: the decoder, origins, and the layers around every call."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.routing import Route, Router

from app.adapters.sql.database import SqlDatabase
from app.domain.decoding import decode
from app.domain.errors import PollroomError
from app.domain.origins import origin_allowed
from app.domain.polls import NewPoll
from app.domain.vote_forms import VoteForm
from app.http.controllers.auth import AuthController
from app.http.middleware import Bearer, Reply, Transport
from app.http.resource import Resource, not_found
from app.services.accounts.sessions import Sessions
from tests.test_auth import instance, no_challenges

NEW_POLL = msgspec.json.Decoder(NewPoll)
VOTE = msgspec.json.Decoder(VoteForm)
DEEP = b"[" * 200 + b"]" * 200
BOTTOMLESS = b"[" * 20_000 + b"]" * 20_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        DEEP,
        b'{"question": "a", "options": []} x',
        b'{"question": 1, "options": []',
        b'{"question": "\xff", "options": []}',
        b'{"question": 1, "options": ["\xff"]}',
        b'{"question": "\xed\xa0\x80", "options": []}',
        b'{"question": "\x00", "options": []}',
        b'\xef\xbb\xbf{"question": "a", "options": []}',
        b'{"question": "a", "options": [], "minChoices": NaN}',
        b'{"question": Infinity, "options": []}',
    ],
)
def test_what_is_no_json_object_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(PollroomError) as caught:
        decode(data, NEW_POLL)
    assert caught.value.code == "BAD_MESSAGE"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"options": []}', "question"),
        (b'{"question": "a"}', "options"),
        (b'{"question": null, "options": []}', "question"),
        (b'{"question": "a", "options": [], "minChoice": 1}', "minChoice"),
        (b'{"question": "a", "options": [{"label": 1}]}', "options"),
        (b'{"question": "a", "options": [{"lable": "b"}]}', "options"),
        (b'{"question": "a", "options": [{}]}', "options"),
        (b'{"question": ' + DEEP + b', "options": []}', "question"),
        (b'{"question": ' + BOTTOMLESS + b', "options": []}', "question"),
        (b'{"question": "\\ud800", "options": []}', "question"),
        (b'{"question": "a", "options": ["b", {"label": "\\udc00"}]}', "options"),
        (b'{"question": "a\\u0000", "options": []}', "question"),
        (b'{"question": "a", "options": [], "minChoices": 1e400}', "minChoices"),
        (b'{"question": "a", "options": [], "minChoices": 1' + b"0" * 400 + b"}", "minChoices"),
        (b'{"question": "a", "options": [], "minChoices": ' + b"9" * 30 + b"}", "minChoices"),
        (b'{"question": "a", "options": [], "minChoices": ' + b"9" * 9000 + b"}", "minChoices"),
        (b'{"question": "a", "options": [], "minChoices": 1.5}', "minChoices"),
        (b'{"question": "a", "options": [], "opensAt": "tomorrow"}', "opensAt"),
        (b'{"question": "a", "options": [], "opensAt": "2030-01-01T00:00:00"}', "opensAt"),
        (b'{"question": "a", "options": [], "resultsVisibility": "never"}', "resultsVisibility"),
        (b'{"question": "a", "options": [], "\\ud800": 1}', "\\ud800"),
        (b'{"question": "a", "options": [], "": 1}', ""),
    ],
)
def test_a_wrong_field_is_named_as_the_client_wrote_it(data: bytes, field: str) -> None:
    with pytest.raises(PollroomError) as caught:
        decode(data, NEW_POLL)
    assert caught.value.code == "VALIDATION_FAILED"
    assert list(caught.value.fields or ()) == [field]
    msgspec.json.encode(caught.value.fields)


def test_every_wrong_field_is_named_at_once_in_words_of_json() -> None:
    data = b"""{"question": 5, "options": {}, "minChoices": 0, "resultsVisibility": "never", "guests": "yes",
        "opensAt": "tomorrow", "description": [], "colour": 1}"""
    with pytest.raises(PollroomError) as caught:
        decode(data, NEW_POLL)
    assert caught.value.fields == {
        "question": "must be a string",
        "options": "must be an array, each item a string or an object with label, correct",
        "minChoices": "must be a whole number from 1 to 100 or null",
        "resultsVisibility": "must be one of: always, after_vote, after_close, owner",
        "guests": 'must be true or false or "challenge" or null',
        "opensAt": "must be a time in RFC 3339 with a time zone or null",
        "description": "must be a string or null",
        "colour": "is not a known field",
    }


def test_all_missing_fields_are_named() -> None:
    with pytest.raises(PollroomError) as caught:
        decode(b"{}", NEW_POLL)
    assert caught.value.fields == {"question": "is required", "options": "is required"}


def test_text_that_only_looks_like_an_escape_is_taken() -> None:
    assert decode(b'{"question": "\\\\u0000", "options": []}', NEW_POLL).question == "\\u0000"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"{}", "optionIds"),
        (b'{"optionId": "a", "optionIds": ["a"]}', "optionId"),
        (b'{"optionIds": ["a", "b", "a"]}', "optionIds"),
        (b'{"optionIds": "a"}', "optionIds"),
        (b'{"optionIds": null}', "optionIds"),
        (b'{"optionId": null}', "optionId"),
        (b'{"optionId": "a", "id": null}', "id"),
        (b'{"optionId": "a", "id": ""}', "id"),
        (b'{"optionId": "a", "id": "b\\n"}', "id"),
        (b'{"optionId": "a", "id": "' + b"b" * 65 + b'"}', "id"),
    ],
)
def test_a_vote_of_the_wrong_form(data: bytes, field: str) -> None:
    with pytest.raises(PollroomError) as caught:
        decode(data, VOTE).choices()
    assert caught.value.code == "VALIDATION_FAILED"
    assert field in (caught.value.fields or ())


def test_the_choices_of_a_vote() -> None:
    assert decode(b'{"optionIds": ["b", "a"]}', VOTE).choices() == ("b", "a")
    assert decode(b'{"optionId": "b"}', VOTE).choices() == ("b",)
    assert decode(b'{"optionIds": []}', VOTE).choices() == ()


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "is_allowed"),
    [
        ("http://localhost:8000", "localhost:8000", [], True),
        ("https://polls.example", "Polls.Example", [], True),
        ("https://polls.example", "polls.example:443", [], True),
        ("http://polls.example:80", "polls.example", [], True),
        ("http://[::1]:8000", "[::1]:8000", [], True),
        ("http://polls.example", "polls.example:443", [], False),
        ("http://localhost:8001", "localhost:8000", [], False),
        ("https://polls.example.evil", "polls.example", [], False),
        ("https://other.example", "polls.example", ["https://other.example"], True),
        ("http://other.example", "polls.example", ["https://other.example"], False),
        ("null", "null", ["null"], False),
        ("", "", [], False),
        ("http://", "", [], False),
        ("http://a:99999", "a:99999", [], False),
        ("file://polls.example", "polls.example", [], False),
        ("http://user@polls.example", "user@polls.example", [], False),
    ],
)
def test_origins(origin: str, host: str, allowed: list[str], is_allowed: bool) -> None:
    assert origin_allowed(origin, host, allowed) is is_allowed


@pytest.fixture
async def auth(tmp_path: Path, redis_url: str) -> AsyncIterator[Sessions]:
    async with SqlDatabase(f"sqlite+aiosqlite:///{tmp_path}/test.db") as database:
        await database.migrate(1)
        async with instance(database, redis_url) as auth:
            yield auth


@pytest.fixture
async def client(auth: Sessions) -> AsyncIterator[httpx.AsyncClient]:
    """The transport's layers around the account calls, and one call that fails."""
    accounts = AuthController(auth, no_challenges(), Bearer(auth))

    async def fails(request: Request) -> Reply:
        raise RuntimeError("a secret detail")

    routes = [
        Route("/auth/register", Resource(POST=accounts.register)),
        Route("/auth/guest", Resource(POST=accounts.guest)),
        Route("/auth/logout", Resource(POST=accounts.logout)),
        Route("/auth/me", Resource(GET=accounts.me)),
        Route("/fails", Resource(GET=fails)),
    ]
    app = Transport(
        Router(routes, redirect_slashes=False, default=not_found), allowed_origins={"https://other.example"}
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://polls.example") as client:
        yield client


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= document.keys()
    assert (document["status"], document["code"]) == (status, code)
    assert ("www-authenticate" in response.headers) == (status == 401)
    return document


ACCOUNT = {"email": "ada@example.org", "password": "correct horse"}
JSON = {"Content-Type": "application/json"}


async def test_bodies_are_declared_bounded_json_objects(client: httpx.AsyncClient) -> None:
    async def post(content: Any, **headers: str) -> httpx.Response:
        return await client.post(
            "/auth/register", content=content, headers={n.replace("_", "-"): v for n, v in headers.items()}
        )

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    body = msgspec.json.encode(ACCOUNT)
    problem(await post(body), 415, "UNSUPPORTED_MEDIA")
    problem(await post(body, content_type="text/plain"), 415, "UNSUPPORTED_MEDIA")
    problem(await post(b" " * 65_537, content_type="application/json"), 413, "TOO_LARGE")
    problem(await post(b"{}", content_type="application/json", content_length="9" * 30), 413, "TOO_LARGE")
    problem(await post(trickle(), content_type="application/json"), 413, "TOO_LARGE")
    problem(await post(b"", content_type="application/json"), 400, "BAD_MESSAGE")
    document = problem(
        await post(b'{"email": "a@b"}', content_type="application/json"), 422, "VALIDATION_FAILED"
    )
    assert document["fields"] == {"password": "is required"}
    assert (await post(body, content_type="Application/JSON; charset=utf-8")).status_code == 201
    problem(await post(body, content_type="application/json"), 409, "EMAIL_TAKEN")


async def test_optional_bodies(client: httpx.AsyncClient) -> None:
    assert (await client.post("/auth/guest")).status_code == 201
    assert (await client.post("/auth/guest", headers=JSON)).status_code == 201
    assert (await client.post("/auth/guest", json={"name": "Bo"})).json()["user"]["name"] == "Bo"
    problem(await client.post("/auth/guest", content=b"{}"), 415, "UNSUPPORTED_MEDIA")
    problem(await client.post("/auth/guest", content=b"[]", headers=JSON), 400, "BAD_MESSAGE")
    token = (await client.post("/auth/guest")).json()["accessToken"]
    logout = await client.post(
        "/auth/logout", content=b"anything", headers={"Authorization": f"bearer {token}"}
    )
    assert (logout.status_code, logout.content) == (204, b"")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi", "Bearer \u00ff"])
async def test_a_bad_token_is_refused_before_the_body_and_where_none_is_needed(
    client: httpx.AsyncClient, header: str
) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    problem(await client.get("/auth/me", headers=headers), 401, "UNAUTHENTICATED")
    problem(await client.post("/auth/register", content=b"no", headers=headers), 401, "UNAUTHENTICATED")
    problem(await client.get("/auth/me"), 401, "UNAUTHENTICATED")


async def test_me_is_the_registered_user(client: httpx.AsyncClient) -> None:
    session = (await client.post("/auth/register", json=ACCOUNT)).json()
    me = await client.get("/auth/me", headers={"Authorization": f"Bearer {session['accessToken']}"})
    assert me.json() == {"user": session["user"]}
    assert me.headers["cache-control"] == "no-store"


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    for path in ("/polls/", "/auth/me/", "/%00", "/%", "/%ff", "/a%2Fb", "/" + "x" * 3000):
        problem(await client.get(path), 404, "NOT_FOUND")
    response = await client.put("/auth/me")
    problem(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "GET, HEAD"
    assert (await client.head("/auth/me")).status_code == 401


async def test_an_unexpected_error_tells_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/fails")
    problem(response, 500, "INTERNAL")
    assert "secret" not in response.text


async def test_request_ids_are_echoed_or_made(client: httpx.AsyncClient) -> None:
    sane = await client.get("/auth/me", headers={"X-Request-Id": "a-1.B_2"})
    assert sane.headers["x-request-id"] == "a-1.B_2"
    made = [(await client.get("/auth/me", headers={"X-Request-Id": bad})) for bad in ("", "a b", "x" * 65)]
    assert len({response.headers["x-request-id"] for response in made}) == 3


async def test_origins_over_http(client: httpx.AsyncClient) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin in ("http://polls.example", "https://other.example"):
        response = await client.post("/auth/guest", headers={"Origin": origin})
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-expose-headers"] == "Retry-After, X-Request-Id"
        asked = await client.options("/auth/guest", headers={"Origin": origin, **preflight})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == origin
        assert "Idempotency-Key" in asked.headers["access-control-allow-headers"]
        assert "PATCH" in asked.headers["access-control-allow-methods"]
    for origin in ("https://evil.example", "null", "http://polls.example:81"):
        response = await client.post("/auth/guest", headers={"Origin": origin})
        assert response.status_code == 201
        assert (
            await client.options("/auth/guest", headers={"Origin": origin, **preflight})
        ).status_code == 204
        assert not [name for name in response.headers if name.startswith("access-control")]
