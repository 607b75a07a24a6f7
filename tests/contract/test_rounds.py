"""Another round: a copy of a poll under new ids, while both results stay."""

from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio

KEPT = (
    "question",
    "description",
    "minChoices",
    "maxChoices",
    "resultsVisibility",
    "allowChange",
    "guests",
    "ownerId",
)


async def again(api: Api, owner: Person, poll: dict[str, Any], body: Any = None, **kw: Any) -> dict[str, Any]:
    answer = await api.post(f"/polls/{poll['id']}/again", body, owner, **kw)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["poll"]
    return found


async def test_another_round_is_a_copy_that_is_open_at_once(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(
        owner,
        question="Best?",
        description="Of all",
        options=[{"label": "A", "correct": True}, "B", "C"],
        minChoices=1,
        maxChoices=2,
        allowChange=True,
        guests=True,
        resultsVisibility="after_vote",
    )
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
    await api.close(owner, poll)
    before = await api.state(poll, guest)
    second = await again(api, owner, poll)
    assert {name: second[name] for name in KEPT} == {name: poll[name] for name in KEPT}
    assert [option["label"] for option in second["options"]] == ["A", "B", "C"]
    assert not set(option_ids(second)) & set(option_ids(poll))
    assert second["correctOptionIds"] == option_ids(second)[:1]
    assert (second["status"], second["opensAt"], second["closesAt"]) == ("open", None, None)
    assert (second["round"], second["previousPollId"]) == (2, poll["id"])
    assert (poll["round"], poll["previousPollId"]) == (1, None)
    assert second["code"] != poll["code"] and second["revealed"] is None and second["paused"] is False
    (await api.vote(guest, second["id"], option_ids(second)[1:2])).fresh()
    assert await api.state(poll, guest) == before
    third = await again(api, owner, second)
    assert (third["round"], third["previousPollId"]) == (3, second["id"])


async def test_a_round_may_begin_as_a_draft(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    assert (await again(api, owner, poll, {"draft": True}))["status"] == "draft"
    assert (await again(api, owner, poll, {"draft": False}))["status"] == "open"
    assert (await again(api, owner, poll, {"draft": None}))["status"] == "open"
    draft = await api.poll(owner, draft=True)
    assert (await again(api, owner, draft))["status"] == "open"


async def test_a_retry_with_the_same_key_is_the_same_round_of_this_poll_alone(
    api: Api, owner: Person
) -> None:
    made = await api.post("/polls", {"question": "?", "options": ["A", "B"]}, owner, key="one")
    poll, other = made.json()["poll"], await api.poll(owner)
    second = await again(api, owner, poll, key="one")
    assert second["id"] != poll["id"]
    answer = await api.post(f"/polls/{poll['id']}/again", {"draft": True}, owner, key="one")
    assert answer.status_code == 200 and answer.json()["poll"] == second
    assert (await again(api, owner, other, key="one"))["id"] != second["id"]
    assert (await again(api, owner, poll, key="two"))["id"] != second["id"]


async def test_who_may_not_repeat_a_poll(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner, guests=True)
    problem(await api.post(f"/polls/{poll['id']}/again", None, guest), "FORBIDDEN")
    problem(await api.post(f"/polls/{poll['id']}/again"), "UNAUTHENTICATED")
    problem(await api.post("/polls/unknown/again", None, owner), "NOT_FOUND")
    problem(
        await api.post(f"/polls/{poll['id']}/again", {"draft": "no"}, owner), "VALIDATION_FAILED", "draft"
    )
    problem(await api.post(f"/polls/{poll['id']}/again", {"title": "x"}, owner), "VALIDATION_FAILED", "title")
    ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
    problem(await api.post(f"/polls/{poll['id']}/again", None, owner), "NOT_FOUND")
