"""HTTP requests of another type, size, address or method than is taken here."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import STATUS

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


# Bodies and their types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declared",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "x",
    ],
)
async def test_a_body_of_another_or_no_type_is_unsupported_media(
    api: Api, owner: Person, declared: str | None
) -> None:
    headers = {"Content-Type": declared} if declared else {}
    content = json.dumps({"question": "Q", "options": ["a", "b"]}).encode()
    poll = await api.poll(owner)
    for method, path in (
        ("POST", "/polls"),
        ("PATCH", f"/polls/{poll['id']}"),
        ("POST", f"/polls/{poll['id']}/votes"),
        ("POST", "/auth/register"),
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
        ("POST", "/auth/guest"),
    ):
        problem(
            await api.call(method, path, None, owner, content=content, headers=headers), "UNSUPPORTED_MEDIA"
        )


@pytest.mark.parametrize(
    "declared", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
async def test_a_json_body_is_taken_however_its_type_is_spelt(api: Api, owner: Person, declared: str) -> None:
    content = json.dumps({"question": "Q", "options": ["a", "b"]}).encode()
    ok(await api.post("/polls", None, owner, content=content, headers={"Content-Type": declared}), 201)


async def test_a_poll_of_256_kib_is_taken_and_one_more_byte_is_too_large(api: Api, owner: Person) -> None:
    content = json.dumps({"question": "Q", "options": ["a", "b"]}).encode()
    ok(await api.post("/polls", None, owner, content=content.ljust(262_144), headers=JSON), 201)
    problem(await api.post("/polls", None, owner, content=content.ljust(262_145), headers=JSON), "TOO_LARGE")


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_a_body_of_3_mb_is_too_large(api: Api, owner: Person, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(48):
            yield b" " * 65536

    content: Any = chunks() if chunked else b" " * 3_000_000
    problem(await api.post("/polls", None, owner, content=content, headers=JSON), "TOO_LARGE")
    ok(await api.get("/auth/me", owner))


async def test_a_large_ballot_or_log_in_is_too_large(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    for path in (f"/polls/{poll['id']}/votes", "/auth/login"):
        problem(await api.post(path, None, owner, content=b" " * 70_000, headers=JSON), "TOO_LARGE")


# Addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nothing", "/polls/a/b/c", "/" + "x" * 3000, "/%00", "/%ff%fe", "/auth", "/💥"],
                         ids=lambda path: path[:10])  # fmt: skip
async def test_an_unknown_address_is_not_found(api: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        problem(await api.call(method, path), "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/polls"),
        ("DELETE", "/polls"),
        ("PATCH", "/polls"),
        ("GET", "/auth/login"),
        ("GET", "/auth/register"),
        ("POST", "/auth/me"),
        ("POST", "/polls/unknown"),
        ("PUT", "/polls/unknown"),
        ("GET", "/polls/unknown/open"),
        ("GET", "/polls/unknown/votes"),
        ("POST", "/join/AAAAAA"),
        ("POST", "/polls/unknown/results"),
        ("GET", "/login"),
        ("POST", "/healthz"),
    ],
    ids=str,
)
async def test_another_method_is_method_not_allowed(api: Api, method: str, path: str) -> None:
    problem(await api.call(method, path), "METHOD_NOT_ALLOWED")


async def test_unknown_query_parameters_are_ignored(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    ok(await api.get(f"/polls/{poll['id']}?x=1&limit=9999&%ff=%00"))
    ok(await api.get("/polls?colour=blue", owner))
    ok(await api.post("/polls?draft=true", {"question": "Q", "options": ["a", "b"]}, owner), 201)


@pytest.mark.parametrize(
    "name", ["Authorization", "Idempotency-Key", "Origin", "Accept", "X-Request-Id", "Cookie"]
)
async def test_strange_headers_are_no_5xx(api: Api, name: str) -> None:
    for value in (b"\xff\xfe", b"", b"x" * 5000, b"%s%n{}[]"):
        response = await api.get("/polls", headers={name: value})
        assert response.status_code == 401


async def test_an_error_is_a_problem_document_with_the_codes_status(api: Api, owner: Person) -> None:
    body = problem(await api.get("/polls/unknown"), "NOT_FOUND")
    assert all(isinstance(body[name], str) and body[name] for name in ("type", "title", "detail", "code"))
    assert body["status"] == STATUS["NOT_FOUND"]
    assert isinstance(problem(await api.post("/polls", {}, owner), "VALIDATION_FAILED")["fields"], dict)
