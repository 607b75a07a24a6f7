"""PATCH: what the status of a poll lets change."""

from typing import Any

import pytest

from tools.harness.http import Api, Person, problem
from tools.harness.shapes import option_ids
from tools.harness.wait import SOON, ahead, eventually, parse

pytestmark = pytest.mark.anyio


async def test_opens_at_cannot_change_once_open(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    for value in (ahead(100), "2020-01-01T00:00:00Z"):
        problem(
            await api.patch(f"/polls/{poll['id']}", {"opensAt": value}, owner), "VALIDATION_FAILED", "opensAt"
        )
    past = await api.poll(owner, opensAt="2020-01-01T00:00:00Z")
    problem(await api.patch(f"/polls/{past['id']}", {"opensAt": ahead(100)}, owner), "VALIDATION_FAILED")
    problem(await api.patch(f"/polls/{past['id']}", {"opensAt": None}, owner), "VALIDATION_FAILED")
    assert await api.edit(owner, past, opensAt="2020-01-01T01:00:00+01:00") == past


async def test_opens_at_of_a_scheduled_poll_can_move(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, opensAt=ahead(1000))
    assert (await api.edit(owner, poll, opensAt="2099-01-01T00:00:00Z"))["status"] == "scheduled"
    assert (await api.edit(owner, poll, opensAt="2020-01-01T00:00:00Z"))["status"] == "open"
    other = await api.poll(owner, opensAt=ahead(1000))
    assert (await api.edit(owner, other, opensAt=None))["status"] == "open"


async def test_closes_at_of_an_open_poll_can_move_and_be_cleared(
    api: Api, owner: Person, guest: Person
) -> None:
    moved = await api.poll(owner, closesAt=ahead(1000), guests=True)
    kept = await api.poll(owner, closesAt=ahead(SOON), guests=True)
    witness = await api.poll(owner, closesAt=ahead(SOON))
    await api.edit(owner, kept, closesAt=None)
    await api.edit(owner, moved, closesAt=ahead(SOON))
    for poll in (moved, witness):
        await eventually(lambda poll=poll: api.state(poll), lambda s: s["poll"]["status"] == "closed")  # type: ignore[misc]
    assert (await api.state(kept))["poll"]["status"] == "open"
    (await api.vote(guest, kept["id"], option_ids(kept)[:1])).fresh()
    (await api.vote(guest, moved["id"], option_ids(moved)[:1])).refused("POLL_CLOSED")


async def test_a_closed_poll_still_takes_question_description_and_visibility(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, resultsVisibility="owner")
    closed = (await api.close(owner, poll))["poll"]
    before = (await api.tally(poll, owner))["seq"]
    edited = await api.edit(owner, poll, question="Q", description="D", resultsVisibility="always")
    assert edited == closed | {"question": "Q", "description": "D", "resultsVisibility": "always"}
    tally = await api.tally(poll)
    assert tally["final"] is True
    assert tally["seq"] > before


@pytest.mark.parametrize(
    "fields",
    [
        {"closesAt": "2099-01-01T00:00:00Z"},
        {"closesAt": None},
        {"opensAt": "2099-01-01T00:00:00Z"},
        {"closesAt": "2099-01-01T00:00:00Z", "question": "Should not stand"},
    ],
    ids=str,
)
async def test_new_times_for_a_closed_poll_are_refused(
    api: Api, owner: Person, fields: dict[str, Any]
) -> None:
    poll = await api.poll(owner)
    await api.close(owner, poll)
    before = await api.state(poll)
    problem(await api.patch(f"/polls/{poll['id']}", fields, owner), "POLL_CLOSED")
    assert await api.state(poll) == before


async def test_equal_times_for_a_closed_poll_are_no_change(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, closesAt=ahead(1000))
    closed = (await api.close(owner, poll))["poll"]
    assert await api.edit(owner, poll, closesAt=closed["closesAt"], opensAt=closed["opensAt"]) == closed


@pytest.mark.parametrize("fields", [{"allowChange": True}, {"guests": True}], ids=str)
async def test_a_closed_poll_takes_no_other_rules(api: Api, owner: Person, fields: dict[str, Any]) -> None:
    poll = await api.poll(owner)
    await api.close(owner, poll)
    problem(await api.patch(f"/polls/{poll['id']}", fields, owner), "POLL_CLOSED")


async def test_a_poll_closed_by_its_clock_takes_no_new_times(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, closesAt=ahead(SOON))
    witness = await api.poll(owner, closesAt=poll["closesAt"])
    await eventually(lambda: api.state(witness), lambda state: state["poll"]["status"] == "closed")
    problem(await api.patch(f"/polls/{poll['id']}", {"closesAt": ahead(100)}, owner), "POLL_CLOSED")
    problem(await api.patch(f"/polls/{poll['id']}", {"closesAt": None}, owner), "POLL_CLOSED")
    state = await api.state(poll)
    assert (state["poll"]["status"], state["poll"]["closesAt"]) == ("closed", poll["closesAt"])


async def test_a_draft_past_its_closes_at_stays_a_draft_and_an_edit_may_move_it(
    api: Api, owner: Person, ws: Any
) -> None:
    poll = await api.poll(owner, draft=True, closesAt=ahead(SOON))
    async with ws(owner) as sock:
        await eventually(sock.settle, lambda now: parse(now) > parse(poll["closesAt"]))
    state = await api.state(poll, owner)
    assert (state["poll"]["status"], state["tally"]["final"]) == ("draft", False)
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "POLL_CLOSED")
    assert (await api.state(poll, owner))["poll"]["status"] == "draft"
    assert (await api.edit(owner, poll, closesAt=ahead(1000)))["status"] == "draft"
    assert (await api.open(owner, poll))["poll"]["status"] == "open"
