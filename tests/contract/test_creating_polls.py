"""Creating polls: defaults, limits, times."""

from typing import Any

import pytest

from tools.harness.http import Api, Person, names_field, ok, problem
from tools.harness.shapes import check_poll, option_ids
from tools.harness.wait import ahead, now, parse

pytestmark = pytest.mark.anyio

BASE: dict[str, Any] = {"question": "Tea or coffee?", "options": ["Tea", "Coffee"]}


async def test_a_poll_has_its_defaults(api: Api, owner: Person) -> None:
    poll = ok(await api.post("/polls", BASE, owner), 201)["poll"]
    check_poll(poll, answers=True)
    shown = {
        name: value for name, value in poll.items() if name not in ("id", "code", "options", "createdAt")
    }
    assert shown == {
        "ownerId": owner.id,
        "question": "Tea or coffee?",
        "description": None,
        "minChoices": 1,
        "maxChoices": 1,
        "resultsVisibility": "always",
        "allowChange": False,
        "guests": False,
        "status": "open",
        "opensAt": None,
        "closesAt": None,
        "paused": False,
        "round": 1,
        "previousPollId": None,
        "deckId": None,
        "revealed": None,
        "verifiable": False,
        "commitment": None,
        "correctOptionIds": [],
    }
    assert [option["label"] for option in poll["options"]] == ["Tea", "Coffee"]
    assert [(o["imageUrl"], o["thumbnailUrl"]) for o in poll["options"]] == [(None, None)] * 2
    assert len(set(option_ids(poll))) == 2
    assert abs((parse(poll["createdAt"]) - now()).total_seconds()) < 60


async def test_null_means_the_default(api: Api, owner: Person) -> None:
    optional = (
        "description", "minChoices", "maxChoices", "resultsVisibility", "allowChange", "guests", "opensAt",
        "closesAt", "draft",
    )  # fmt: skip
    poll = await api.poll(owner, **dict.fromkeys(optional))
    plain = await api.poll(owner)
    different = ("id", "code", "options", "createdAt")
    assert {n: v for n, v in poll.items() if n not in different} == {
        n: v for n, v in plain.items() if n not in different
    }


async def test_a_poll_keeps_what_it_was_given(api: Api, owner: Person) -> None:
    fields = {
        "question": "Which?",
        "description": "Two lines\nof text",
        "options": [{"label": "a"}, {"label": "A"}, {"label": "ä 🙂"}],
        "minChoices": 2,
        "maxChoices": 3,
        "resultsVisibility": "after_vote",
        "allowChange": True,
        "guests": True,
        "opensAt": ahead(1000),
        "closesAt": ahead(2000),
    }
    poll = await api.poll(owner, **fields)
    state = await api.state(poll, owner)
    assert state["poll"] == poll
    assert [option["label"] for option in poll["options"]] == ["a", "A", "ä 🙂"]
    assert {n: poll[n] for n in fields if n != "options"} == {
        n: v for n, v in fields.items() if n != "options"
    }
    assert poll["status"] == "scheduled"


async def test_max_choices_is_the_larger_of_1_and_min_choices_unless_given(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, minChoices=2)
    assert (poll["minChoices"], poll["maxChoices"]) == (2, 2)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"question": ""}, "question"),
        ({"question": " \n\t "}, "question"),
        ({"question": "x" * 301}, "question"),
        ({"question": None}, "question"),
        ({"question": 5}, "question"),
        ({"question": ["x"]}, "question"),
        ({"question": "a\0b"}, "question"),
        ({"description": "x" * 2001}, "description"),
        ({"description": ""}, "description"),
        ({"description": "  "}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"options": None}, "options"),
        ({"options": []}, "options"),
        ({"options": ["one"]}, "options"),
        ({"options": [str(n) for n in range(101)]}, "options"),
        ({"options": ["a", ""]}, "options"),
        ({"options": ["a", "  "]}, "options"),
        ({"options": ["a", "x" * 201]}, "options"),
        ({"options": ["a", "a"]}, "options"),
        ({"options": ["a", " a "]}, "options"),
        ({"options": ["a", {"label": "a"}]}, "options"),
        ({"options": ["a", "b\0"]}, "options"),
        ({"options": ["a", None]}, "options"),
        ({"options": ["a", 5]}, "options"),
        ({"options": ["a", ["b"]]}, "options"),
        ({"options": [{"label": "a"}, {}]}, "options"),
        ({"options": [{"label": "a"}, {"label": "b", "id": "x"}]}, "options"),
        ({"options": "ab"}, "options"),
        ({"options": {"0": "a", "1": "b"}}, "options"),
        ({"minChoices": 0}, "minChoices"),
        ({"minChoices": -1}, "minChoices"),
        ({"minChoices": 1.5}, "minChoices"),
        ({"minChoices": "1"}, "minChoices"),
        ({"minChoices": True}, "minChoices"),
        ({"minChoices": 3}, ""),
        ({"maxChoices": 0}, "maxChoices"),
        ({"maxChoices": 3}, "maxChoices"),
        ({"maxChoices": 10**30}, "maxChoices"),
        ({"minChoices": 2, "maxChoices": 1}, ""),
        ({"resultsVisibility": "never"}, "resultsVisibility"),
        ({"resultsVisibility": "ALWAYS"}, "resultsVisibility"),
        ({"resultsVisibility": 1}, "resultsVisibility"),
        ({"allowChange": "true"}, "allowChange"),
        ({"allowChange": 1}, "allowChange"),
        ({"guests": 0}, "guests"),
        ({"draft": "no"}, "draft"),
        ({"opensAt": "tomorrow"}, "opensAt"),
        ({"opensAt": "2030-01-01"}, "opensAt"),
        ({"opensAt": "2030-01-01T00:00:00"}, "opensAt"),
        ({"opensAt": "2030-13-01T00:00:00Z"}, "opensAt"),
        ({"opensAt": 1893456000}, "opensAt"),
        ({"closesAt": "2020-01-01T00:00:00Z"}, "closesAt"),
        ({"closesAt": "2099-01-01T00:00:00"}, "closesAt"),
        ({"closesAt": ""}, "closesAt"),
        ({"opensAt": "2099-01-02T00:00:00Z", "closesAt": "2099-01-01T00:00:00Z"}, ""),
        ({"opensAt": "2099-01-01T00:00:00Z", "closesAt": "2099-01-01T00:00:00Z"}, ""),
        ({"questoin": "x"}, "questoin"),
        ({"id": "mine"}, "id"),
        ({"status": "open"}, "status"),
        ({"min_choices": 1}, "min_choices"),
    ],
    ids=lambda value: str(value)[:50].replace("\0", "NUL"),
)
async def test_a_wrong_field_is_refused_and_named(
    api: Api, owner: Person, fields: dict[str, Any], named: str
) -> None:
    body = problem(await api.post("/polls", BASE | fields, owner), "VALIDATION_FAILED")
    assert not named or names_field(body["fields"], named), body


@pytest.mark.parametrize("missing", ["question", "options"])
async def test_question_and_options_are_needed(api: Api, owner: Person, missing: str) -> None:
    body = {name: value for name, value in BASE.items() if name != missing}
    problem(await api.post("/polls", body, owner), "VALIDATION_FAILED", missing)


async def test_several_wrong_fields_need_not_hide_the_code(api: Api, owner: Person) -> None:
    problem(
        await api.post("/polls", {"question": "", "options": [], "minChoices": 0}, owner), "VALIDATION_FAILED"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "🙂" * 300},
        {"question": "x"},
        {"description": "🙂" * 2000},
        {"options": [str(n) for n in range(100)], "maxChoices": 100},
        {"options": ["🙂" * 200, "x"]},
        {"options": ["a", "A"]},
        {"options": [{"label": "a"}, {"label": "b"}]},
        {"minChoices": 2, "maxChoices": 2},
    ],
    ids=lambda value: str(value)[:30],
)
async def test_the_limits_themselves_are_taken(api: Api, owner: Person, fields: dict[str, Any]) -> None:
    await api.poll(owner, **fields)


async def test_texts_lose_their_outer_white_space_and_are_counted_after_it(api: Api, owner: Person) -> None:
    poll = await api.poll(
        owner,
        question="  " + "x" * 300 + "\n",
        description="\t d  d ",
        options=[" a ", {"label": "\nb" + "b" * 199 + "  "}],
    )
    assert (poll["question"], poll["description"]) == ("x" * 300, "d  d")
    assert [option["label"] for option in poll["options"]] == ["a", "b" * 200]


@pytest.mark.parametrize("visibility", ["always", "after_vote", "after_close", "owner"])
async def test_every_visibility_can_be_chosen(api: Api, owner: Person, visibility: str) -> None:
    assert (await api.poll(owner, resultsVisibility=visibility))["resultsVisibility"] == visibility


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2099-05-01T12:00:00Z", "2099-05-01T12:00:00.000Z"),
        ("2099-05-01T12:00:00+02:00", "2099-05-01T10:00:00.000Z"),
        ("2099-05-01T12:00:00.5-03:30", "2099-05-01T15:30:00.500Z"),
        ("2099-05-01T12:00:00.123Z", "2099-05-01T12:00:00.123Z"),
    ],
)
async def test_times_are_sent_with_any_offset_and_shown_in_utc_with_milliseconds(
    api: Api, owner: Person, sent: str, shown: str
) -> None:
    assert (await api.poll(owner, opensAt=sent))["opensAt"] == shown
    assert (await api.poll(owner, closesAt=sent))["closesAt"] == shown


async def test_an_opens_at_in_the_past_is_open_at_once(api: Api, owner: Person) -> None:
    assert (await api.poll(owner, opensAt="2020-01-01T00:00:00Z"))["status"] == "open"


async def test_an_opens_at_to_come_is_scheduled(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, opensAt=ahead(1000), closesAt=ahead(2000))
    assert poll["status"] == "scheduled"
    assert (await api.state(poll))["poll"]["status"] == "scheduled"


async def test_creating_a_poll_needs_a_token_before_a_body(api: Api) -> None:
    problem(await api.post("/polls", BASE), "UNAUTHENTICATED")
    problem(await api.post("/polls", {"nonsense": 1}), "UNAUTHENTICATED")
    problem(await api.post("/polls", content=b"{", headers={"Content-Type": "text/plain"}), "UNAUTHENTICATED")
