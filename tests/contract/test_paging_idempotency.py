"""GET /polls page by page, and POST /polls that may be retried."""

import asyncio
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem

pytestmark = pytest.mark.anyio


async def pages(api: Api, who: Person, limit: int | None) -> list[list[str]]:
    """The ids of every page."""
    found: list[list[str]] = []
    cursor: str | None = None
    while len(found) < 50:
        query = "&".join(
            ([f"limit={limit}"] if limit else []) + ([f"cursor={cursor}"] if cursor is not None else [])
        )
        page = ok(await api.get(f"/polls?{query}", who))
        assert set(page) == {"items", "nextCursor"}
        found.append([poll["id"] for poll in page["items"]])
        cursor = page["nextCursor"]
        if cursor is None:
            return found
    raise AssertionError("50 pages and no end")


async def test_a_list_is_mine_newest_first_and_its_items_are_polls(api: Api, owner: Person) -> None:
    user = await api.user()
    await api.poll(owner)
    made = [await api.poll(user, question=f"Q{n}", draft=n == 1) for n in range(3)]
    page = ok(await api.get("/polls", user))
    assert page == {"items": made[::-1], "nextCursor": None}
    assert ok(await api.get("/polls", await api.user())) == {"items": [], "nextCursor": None}


async def test_a_list_needs_a_token(api: Api) -> None:
    problem(await api.get("/polls"), "UNAUTHENTICATED")
    problem(await api.get("/polls?limit=0"), "UNAUTHENTICATED")


async def test_pages_cover_everything_once_and_20_is_the_usual_limit(api: Api) -> None:
    user = await api.user()
    made = [(await api.poll(user, question=f"Q{n}"))["id"] for n in range(45)][::-1]
    for limit, sizes in ((None, [20, 20, 5]), (20, [20, 20, 5]), (45, [45]), (15, [15, 15, 15]), (100, [45])):
        found = await pages(api, user, limit)
        assert [len(page) for page in found] == sizes
        assert [poll for page in found for poll in page] == made
    assert [len(page) for page in await pages(api, user, 1)] == [1] * 45


async def test_pages_neither_miss_nor_repeat_while_polls_come_and_go(api: Api) -> None:
    user = await api.user()
    made = [await api.poll(user) for _ in range(12)]
    first = ok(await api.get("/polls?limit=5", user))
    await asyncio.gather(*(api.poll(user) for _ in range(6)))
    await api.delete(f"/polls/{first['items'][4]['id']}", user)
    rest = ok(await api.get(f"/polls?limit=100&cursor={first['nextCursor']}", user))
    assert [poll["id"] for poll in first["items"] + rest["items"]] == [poll["id"] for poll in made[::-1]]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "abc", "", "1.5", "1e1", "9" * 30, "%00", "１"])
async def test_a_limit_out_of_range_is_a_validation_error(api: Api, owner: Person, limit: str) -> None:
    problem(await api.get(f"/polls?limit={limit}", owner), "VALIDATION_FAILED", "limit")


@pytest.mark.parametrize("cursor", ["garbage!", "%00", "%ff", "x" * 3000, "ä", "' OR 1=1 --", "-1", "{}"])
async def test_a_foreign_cursor_is_a_validation_error(api: Api, owner: Person, cursor: str) -> None:
    problem(await api.get(f"/polls?cursor={cursor}", owner), "VALIDATION_FAILED", "cursor")


async def test_another_users_cursor_shows_nothing_of_theirs(api: Api) -> None:
    one, other = await api.user(), await api.user()
    for _ in range(3):
        await api.poll(one)
    mine = await api.poll(other)
    cursor = ok(await api.get("/polls?limit=1", one))["nextCursor"]
    response = await api.get(f"/polls?cursor={cursor}", other)
    if response.status_code == 422:
        problem(response, "VALIDATION_FAILED", "cursor")
    else:
        assert {poll["id"] for poll in ok(response)["items"]} <= {mine["id"]}


# Idempotency-Key ------------------------------------------------------------------------------------------------

BODY: dict[str, Any] = {"question": "Q", "options": ["a", "b"]}


async def test_a_retry_with_the_key_answers_the_same_poll_with_200(api: Api, owner: Person) -> None:
    key = f"key {Api.email()}"
    poll = ok(await api.post("/polls", BODY, owner, key=key), 201)
    assert ok(await api.post("/polls", BODY, owner, key=key), 200) == poll


async def test_a_retry_ignores_the_new_body(api: Api, owner: Person) -> None:
    key = Api.email()
    poll = ok(await api.post("/polls", BODY, owner, key=key), 201)
    other = {"question": "Another", "options": ["x", "y", "z"], "draft": True}
    assert ok(await api.post("/polls", other, owner, key=key), 200) == poll


async def test_a_retry_answers_the_poll_as_it_stands_now(api: Api, owner: Person) -> None:
    key = Api.email()
    poll = ok(await api.post("/polls", BODY, owner, key=key), 201)["poll"]
    edited = await api.edit(owner, poll, question="Edited")
    assert ok(await api.post("/polls", BODY, owner, key=key), 200)["poll"] == edited
    closed = (await api.close(owner, poll))["poll"]
    assert ok(await api.post("/polls", BODY, owner, key=key), 200)["poll"] == closed


async def test_a_key_belongs_to_its_user(api: Api, owner: Person) -> None:
    key = Api.email()
    mine = ok(await api.post("/polls", BODY, owner, key=key), 201)["poll"]
    theirs = ok(await api.post("/polls", BODY, await api.user(), key=key), 201)["poll"]
    assert mine["id"] != theirs["id"]


async def test_keys_differ_by_case_and_by_their_outer_form(api: Api, owner: Person) -> None:
    key = Api.email()
    polls = [ok(await api.post("/polls", BODY, owner, key=k), 201)["poll"]["id"] for k in (key, key.upper())]
    assert len(set(polls)) == 2


async def test_a_key_is_forgotten_with_a_deleted_poll(api: Api, owner: Person) -> None:
    key = Api.email()
    first = ok(await api.post("/polls", BODY, owner, key=key), 201)["poll"]
    await api.delete(f"/polls/{first['id']}", owner)
    second = ok(await api.post("/polls", BODY, owner, key=key), 201)["poll"]
    assert second["id"] != first["id"]
    assert ok(await api.post("/polls", BODY, owner, key=key), 200)["poll"]["id"] == second["id"]


async def test_a_key_is_forgotten_with_a_refused_request(api: Api, owner: Person) -> None:
    key = Api.email()
    problem(await api.post("/polls", BODY | {"question": ""}, owner, key=key), "VALIDATION_FAILED")
    ok(await api.post("/polls", BODY, owner, key=key), 201)


async def test_copies_at_once_make_one_poll(api: Api) -> None:
    user = await api.user()
    responses = await asyncio.gather(*(api.post("/polls", BODY, user, key="once") for _ in range(10)))
    assert sorted(response.status_code for response in responses) == [200] * 9 + [201]
    assert len({response.json()["poll"]["id"] for response in responses}) == 1
    assert len(ok(await api.get("/polls", user))["items"]) == 1


async def test_without_a_key_a_retry_is_a_new_poll(api: Api, owner: Person) -> None:
    one, two = await api.poll(owner), await api.poll(owner)
    assert one["id"] != two["id"]


@pytest.mark.parametrize("key", ["x", "!", "a b", "~" * 255, '"quoted"', "\\"])
async def test_a_key_of_1_to_255_printable_ascii_characters_is_taken(api: Api, key: str) -> None:
    user = await api.user()
    poll = ok(await api.post("/polls", BODY, user, key=key), 201)
    assert ok(await api.post("/polls", BODY, user, key=key), 200) == poll


@pytest.mark.parametrize("key", ["", "x" * 256, "ä".encode(), "ä".encode("latin-1"), "a\tb"], ids=repr)
async def test_a_key_of_another_form_is_a_validation_error(api: Api, owner: Person, key: Any) -> None:
    problem(await api.post("/polls", BODY, owner, key=key), "VALIDATION_FAILED")


async def test_a_key_does_not_matter_where_none_is_asked_for(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    ok(await api.get(f"/polls/{poll['id']}", key="x" * 300))
    ok(await api.patch(f"/polls/{poll['id']}", {"question": "New"}, owner, key="x"))
