"""HTTP as a client of the contract speaks it. Every answer is checked for what holds of all of them."""

import asyncio
import itertools
import math
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tools.harness.process import Server
from tools.harness.shapes import ACCEPTED, RETRACTED, STATUS, check_error

_numbers = itertools.count()
OWNER_SECONDS = 300.0


@dataclass(frozen=True)
class Person:
    """A user or guest with one session. ``user`` as the server showed it."""

    token: str = field(repr=False)
    refresh: str = field(repr=False)
    user: dict[str, Any]
    password: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        return str(self.user["id"])


@dataclass(frozen=True)
class Answer:
    """What a ballot or retraction was answered with, on either transport. ``code`` is none where it was taken."""

    code: str | None
    body: dict[str, Any]

    @property
    def first(self) -> dict[str, Any]:
        """The answer without ``repeated``: what every copy must get."""
        assert self.code is None, self
        return {name: value for name, value in self.body.items() if name not in ("repeated", "type")}

    def fresh(self) -> dict[str, Any]:
        assert self.code is None and self.body["repeated"] is False, self
        return self.body

    def repeats(self, earlier: "Answer") -> None:
        assert self.code is None and self.body["repeated"] is True, self
        assert self.first == earlier.first

    def refused(self, code: str) -> dict[str, Any]:
        assert self.code == code, self
        return self.body


def ok(response: httpx.Response, status: int = 200) -> Any:
    """The JSON body of an answer that had to succeed with ``status``."""
    assert response.status_code == status, (response.status_code, response.text)
    return response.json() if response.content else None


def names_field(fields: dict[str, str], name: str) -> bool:
    return any(key == name or key.startswith((f"{name}[", f"{name}.")) for key in fields)


def problem(response: httpx.Response, code: str, *fields: str) -> dict[str, Any]:
    """The problem document of a refusal with ``code`` that names ``fields``."""
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert response.status_code == STATUS[code], body
    for name in fields:
        assert names_field(body["fields"], name), body
    return body


def check_problem(response: httpx.Response) -> None:
    assert response.headers["content-type"].split(";")[0] == "application/problem+json", response.headers
    body = response.json()
    assert {"type", "title", "status", "detail", "code"} <= set(body), body
    assert set(body) <= {"type", "title", "status", "detail", "code", "fields", "retryAfter", "instance"}, (
        body
    )
    assert body["status"] == response.status_code == STATUS[body["code"]], body
    assert "Traceback" not in response.text
    check_error(body)
    if "retryAfter" in body:
        assert response.headers["retry-after"] == str(math.ceil(body["retryAfter"])), response.headers


class Api:
    """``call`` and the verbs take a path, a JSON body, and ``who`` sends it (a person, a bare token, nobody)."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.AsyncClient(
            verify=False, trust_env=False, timeout=20, limits=httpx.Limits(max_connections=60)
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        who: Person | str | None = None,
        *,
        key: str | bytes | None = None,
        headers: dict[str, Any] | None = None,
        content: Any = None,
        allow_5xx: bool = False,
        base: str | None = None,
    ) -> httpx.Response:
        """``content`` goes out as it is, and undeclared unless ``headers`` say what it is."""
        sent: dict[str, Any] = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {who.token if isinstance(who, Person) else who}"
        if key is not None:
            sent["Idempotency-Key"] = key
        response = await self.http.request(
            method, (base or self.server.url()) + path, json=body, content=content, headers=sent
        )
        if response.status_code >= 400:
            check_problem(response)
            assert allow_5xx or response.status_code < 500, response.text
        elif "json" in response.headers.get("content-type", ""):
            self.server.memory.body(response.json())
        return response

    async def get(self, path: str, who: Person | str | None = None, **kw: Any) -> httpx.Response:
        return await self.call("GET", path, None, who, **kw)

    async def post(
        self, path: str, body: Any = None, who: Person | str | None = None, **kw: Any
    ) -> httpx.Response:
        return await self.call("POST", path, body, who, **kw)

    async def patch(self, path: str, body: Any, who: Person | str | None = None, **kw: Any) -> httpx.Response:
        return await self.call("PATCH", path, body, who, **kw)

    async def delete(self, path: str, who: Person | str | None = None, **kw: Any) -> httpx.Response:
        return await self.call("DELETE", path, None, who, **kw)

    async def user(self, **fields: Any) -> Person:
        """A newly registered user."""
        password = secrets.token_hex(8)
        body = {"email": self.email(), "password": password} | fields
        session = ok(await self._patient("/auth/register", body), 201)
        return person(session, str(body["password"]))

    async def owner(self) -> Person:
        """A user who is shared by the tests of one server, and made anew before the access token expires."""
        person, made = self.server.cache.get("owner", (None, 0.0))
        if person is None or time.monotonic() - made > OWNER_SECONDS:
            made = time.monotonic()
            person = await self.user(name="Owner")
            self.server.cache["owner"] = person, made
        shared: Person = person
        return shared

    async def guest(self, name: str | None = None) -> Person:
        return person(ok(await self._patient("/auth/guest", {"name": name} if name else {}), 201))

    async def guests(self, count: int) -> list[Person]:
        return list(await asyncio.gather(*(self.guest() for _ in range(count))))

    async def _patient(self, path: str, body: Any) -> httpx.Response:
        for _ in range(5):
            response = await self.post(path, body)
            if response.status_code != 429:
                break
            await asyncio.sleep(response.json()["retryAfter"])
        return response

    @staticmethod
    def email() -> str:
        return f"u{next(_numbers)}.{secrets.token_hex(6)}@example.org"

    async def poll(self, owner: Person, **fields: Any) -> dict[str, Any]:
        """A new poll: tea or coffee, unless ``fields`` say otherwise."""
        body = {"question": "Tea or coffee?", "options": ["Tea", "Coffee"]} | fields
        poll: dict[str, Any] = ok(await self.post("/polls", body, owner), 201)["poll"]
        return poll

    async def edit(self, owner: Person, poll: dict[str, Any], **fields: Any) -> dict[str, Any]:
        edited: dict[str, Any] = ok(await self.patch(f"/polls/{poll['id']}", fields, owner))["poll"]
        return edited

    async def open(self, owner: Person, poll: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = ok(await self.post(f"/polls/{poll['id']}/open", None, owner))
        return body

    async def close(self, owner: Person, poll: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = ok(await self.post(f"/polls/{poll['id']}/close", None, owner))
        return body

    async def state(self, poll: dict[str, Any], who: Person | None = None) -> dict[str, Any]:
        """``{poll, tally, yourVote}`` as ``who`` sees it now."""
        body: dict[str, Any] = ok(await self.get(f"/polls/{poll['id']}", who))
        return body

    async def tally(self, poll: dict[str, Any], who: Person | None = None) -> dict[str, Any]:
        tally: dict[str, Any] = (await self.state(poll, who))["tally"]
        return tally

    async def vote(
        self, who: Person | str | None, poll_id: str, options: list[str] | None = None, **fields: Any
    ) -> Answer:
        body = fields if options is None else {"optionIds": options} | fields
        return ballot_answer(await self.post(f"/polls/{poll_id}/votes", body, who))

    async def retract(self, who: Person | str | None, poll_id: str, ballot: str | None = None) -> Answer:
        return retraction_answer(await self.delete(f"/polls/{poll_id}/votes/mine", who, key=ballot))


def ballot_answer(response: httpx.Response) -> Answer:
    body = response.json()
    if response.status_code >= 400:
        return Answer(body["code"], body)
    assert set(body) == ACCEPTED, body
    assert response.status_code == (200 if body["repeated"] else 201), body
    return Answer(None, body)


def retraction_answer(response: httpx.Response) -> Answer:
    body = response.json()
    if response.status_code >= 400:
        return Answer(body["code"], body)
    assert response.status_code == 200 and set(body) == RETRACTED, body
    return Answer(None, body)


def person(session: dict[str, Any], password: str = "") -> Person:
    return Person(session["accessToken"], session["refreshToken"], session["user"], password)
