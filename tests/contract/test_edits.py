"""PATCH: what may change when, what null and equal values mean, and who hears of it."""

import asyncio
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids, public
from tools.harness.wait import ahead

pytestmark = pytest.mark.anyio


async def test_an_edit_answers_the_poll_and_changes_that_alone(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, description="old", guests=True)
    response = await api.patch(f"/polls/{poll['id']}", {"question": "  New?  "}, owner)
    assert ok(response) == {"poll": poll | {"question": "New?"}}
    assert (await api.state(poll))["poll"] == public(poll) | {"question": "New?"}


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "New?"},
        {"description": "new"},
        {"options": ["Tea", "Water"]},
        {"maxChoices": 2},
        {"minChoices": 2, "maxChoices": 2},
        {"resultsVisibility": "owner"},
        {"allowChange": True},
        {"guests": True},
        {"closesAt": "2099-01-01T00:00:00.000Z"},
    ],
    ids=str,
)
async def test_every_edit_raises_seq_and_sends_poll_changed(
    api: Api, owner: Person, ws: Any, fields: dict[str, Any]
) -> None:
    poll = await api.poll(owner)
    async with ws() as sock:
        before = (await sock.join(poll))["tally"]
        edited = await api.edit(owner, poll, **fields)
        changed = await sock.expect("POLL_CHANGED", poll={"id": poll["id"]})
        assert changed["poll"] == public(edited)
        assert changed["tally"]["seq"] > before["seq"]
        assert (await api.tally(poll))["seq"] == changed["tally"]["seq"]
    for name, value in fields.items():
        shown = edited[name]
        assert ([o["label"] for o in shown] if name == "options" else shown) == value


async def test_null_sets_the_default(api: Api, owner: Person) -> None:
    plain = await api.poll(owner, options=["a", "b", "c"])
    poll = await api.poll(
        owner, options=["a", "b", "c"], description="d", minChoices=2, maxChoices=3,
        resultsVisibility="owner", allowChange=True, guests=True, opensAt=ahead(1000), closesAt=ahead(2000),
    )  # fmt: skip
    for name in (
        "description", "maxChoices", "minChoices", "resultsVisibility", "allowChange", "guests", "closesAt",
        "opensAt",
    ):  # fmt: skip
        poll = await api.edit(owner, poll, **{name: None})
        if name == "maxChoices":
            assert poll["maxChoices"] == 2
            poll = await api.edit(owner, poll, minChoices=None, maxChoices=None)
        assert poll[name] == plain[name], name
    assert poll["status"] == "open"


@pytest.mark.parametrize(
    "fields",
    [
        {"question": None},
        {"question": ""},
        {"question": "x" * 301},
        {"question": "a\0"},
        {"description": "x" * 2001},
        {"options": None},
        {"options": ["one"]},
        {"options": ["a", "a"]},
        {"options": ["a"] + ["b"] * 100},
        {"minChoices": 0},
        {"maxChoices": 3},
        {"maxChoices": "2"},
        {"resultsVisibility": "never"},
        {"allowChange": "yes"},
        {"guests": 1},
        {"draft": True},
        {"draft": "x"},
        {"closesAt": "2020-01-01T00:00:00Z"},
        {"closesAt": "soon"},
        {"questoin": "x"},
        {"id": "x"},
        {"code": "AAAAAA"},
        {"ownerId": "x"},
        {"status": "closed"},
        {"createdAt": "2020-01-01T00:00:00Z"},
    ],
    ids=lambda value: str(value)[:40].replace("\0", "NUL"),
)
async def test_a_wrong_edit_is_refused_named_and_changes_nothing(
    api: Api, owner: Person, fields: dict[str, Any]
) -> None:
    poll = await api.poll(owner)
    before = await api.state(poll)
    body = {"question": "Should not stand", "description": "nor this"} | fields
    problem(await api.patch(f"/polls/{poll['id']}", body, owner), "VALIDATION_FAILED", *fields)
    assert await api.state(poll) == before


async def test_limits_are_checked_against_what_stands(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=["a", "b", "c"], minChoices=2, maxChoices=3)
    for fields in ({"options": ["a", "b"]}, {"minChoices": 4}, {"maxChoices": 1}, {"maxChoices": 4}):
        problem(await api.patch(f"/polls/{poll['id']}", fields, owner), "VALIDATION_FAILED")
    edited = await api.edit(owner, poll, options=["a", "b"], minChoices=1, maxChoices=2)
    assert (edited["minChoices"], edited["maxChoices"], len(edited["options"])) == (1, 2, 2)


async def test_times_are_checked_against_what_stands(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, opensAt="2098-01-01T00:00:00Z", closesAt="2099-01-01T00:00:00Z")
    for fields in ({"opensAt": "2099-01-01T00:00:00Z"}, {"closesAt": "2097-01-01T00:00:00Z"}):
        problem(await api.patch(f"/polls/{poll['id']}", fields, owner), "VALIDATION_FAILED")
    await api.edit(owner, poll, opensAt="2099-02-01T00:00:00Z", closesAt="2099-03-01T00:00:00Z")


async def test_an_empty_edit_and_equal_values_are_no_change(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner, description="d", closesAt="2099-01-01T00:00:00Z", guests=True)
    async with ws() as sock:
        before = (await sock.join(poll))["tally"]
        equal = {
            name: poll[name]
            for name in (
                "question", "description", "minChoices", "maxChoices", "resultsVisibility", "allowChange",
                "guests", "opensAt", "closesAt",
            )
        }  # fmt: skip
        equal["options"] = [option["label"] for option in poll["options"]]
        equal["draft"] = False
        for fields in ({}, equal, {"question": f" {poll['question']} "}, {"draft": None}):
            assert await api.edit(owner, poll, **fields) == poll
        assert (await api.tally(poll)) == before
        await api.edit(owner, poll, question="Changed")
        changed = await sock.expect("POLL_CHANGED")
        assert changed["poll"]["question"] == "Changed"
        assert len(sock.since(0, "POLL_CHANGED")) == 1


async def test_draft_cannot_change(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True)
    for value in (False, None):
        problem(
            await api.patch(f"/polls/{poll['id']}", {"draft": value}, owner), "VALIDATION_FAILED", "draft"
        )
    assert await api.edit(owner, poll, draft=True) == poll


async def test_options_with_an_unchanged_label_keep_their_id(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=["a", "b", "c"])
    by_label = {option["label"]: option["id"] for option in poll["options"]}
    edited = await api.edit(owner, poll, options=["c", "new", {"label": "a"}])
    assert [option["label"] for option in edited["options"]] == ["c", "new", "a"]
    ids = option_ids(edited)
    assert (ids[0], ids[2]) == (by_label["c"], by_label["a"])
    assert ids[1] not in by_label.values()
    (await api.vote(owner, poll["id"], [by_label["b"]])).refused("INVALID_OPTION")
    (await api.vote(owner, poll["id"], [ids[1]])).fresh()


async def test_another_order_of_options_is_a_change(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    before = await api.tally(poll)
    edited = await api.edit(owner, poll, options=["Coffee", "Tea"])
    assert option_ids(edited) == option_ids(poll)[::-1]
    assert (await api.tally(poll))["seq"] > before["seq"]


@pytest.mark.parametrize("retracted", [False, True], ids=["voted", "retracted since"])
async def test_options_and_choice_limits_are_locked_from_the_first_vote_on(
    api: Api, owner: Person, retracted: bool
) -> None:
    poll = await api.poll(owner, options=["a", "b", "c"], allowChange=True)
    (await api.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
    if retracted:
        (await api.retract(owner, poll["id"])).fresh()
    before = await api.state(poll)
    for fields in (
        {"options": ["a", "b"]},
        {"options": ["a", "b", "c", "d"]},
        {"options": ["b", "a", "c"]},
        {"minChoices": 2, "maxChoices": 2},
        {"maxChoices": 2},
        {"maxChoices": 2, "question": "Should not stand"},
    ):
        problem(await api.patch(f"/polls/{poll['id']}", fields, owner), "POLL_LOCKED")
    assert await api.state(poll) == before
    equal = {"options": ["a", "b", "c"], "minChoices": 1, "maxChoices": None}
    assert await api.edit(owner, poll, **equal) == poll
    assert await api.state(poll) == before
    await api.edit(
        owner, poll, question="Q", description="D", guests=True, allowChange=False, resultsVisibility="owner"
    )


async def test_a_refused_ballot_locks_nothing(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, allowChange=True)
    (await api.vote(owner, poll["id"], [])).refused("INVALID_CHOICE_COUNT")
    (await api.retract(owner, poll["id"])).fresh()
    assert len((await api.edit(owner, poll, options=["x", "y", "z"]))["options"]) == 3


async def test_edits_at_once_are_all_taken_one_after_another(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as sock:
        before = (await sock.join(poll))["tally"]["seq"]
        names = [f"Question {n}" for n in range(8)]
        edited = await asyncio.gather(*(api.edit(owner, poll, question=name) for name in names))
        assert [found["question"] for found in edited] == names
        state = await api.state(poll)
        assert state["poll"]["question"] in names
        assert state["tally"]["seq"] >= before + len(names)
        last = await sock.shows(poll, seq=state["tally"]["seq"])
        assert last["poll"] == state["poll"]


async def test_edits_of_different_fields_at_once_lose_nothing(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    fields: list[dict[str, Any]] = [
        {"question": "Q"},
        {"description": "D"},
        {"guests": True},
        {"allowChange": True},
        {"resultsVisibility": "after_vote"},
    ]
    await asyncio.gather(*(api.edit(owner, poll, **field) for field in fields))
    state = await api.state(poll)
    for field in fields:
        assert field.items() <= state["poll"].items()


async def test_votes_during_edits_are_all_counted_once(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True)
    voters = await api.guests(30)
    option = option_ids(poll)[0]
    answers, _ = await asyncio.gather(
        asyncio.gather(*(api.vote(voter, poll["id"], [option]) for voter in voters)),
        asyncio.gather(*(api.edit(owner, poll, question=f"Q{n}") for n in range(4))),
    )
    assert len({answer.fresh()["seq"] for answer in answers}) == 30
    tally = await api.tally(poll)
    assert (tally["voters"], tally["counts"][option]) == (30, 30)


async def test_a_wider_poll_takes_guests_from_then_on(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id="b")).refused("FORBIDDEN")
    await api.edit(owner, poll, guests=True)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id="b")).fresh()
