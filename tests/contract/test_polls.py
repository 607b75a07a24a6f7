"""Creating, reading and deleting polls."""

import asyncio
from typing import Any

import pytest

from tests.harness.http import Api, Person, names_field, ok, problem
from tests.harness.shapes import check_poll, option_ids
from tests.harness.wait import ahead, eventually, now, parse

pytestmark = pytest.mark.anyio

BASE: dict[str, Any] = {"question": "Tea or coffee?", "options": ["Tea", "Coffee"]}


async def test_a_poll_has_its_defaults(api: Api, owner: Person) -> None:
    poll = ok(await api.post("/polls", BASE, owner), 201)["poll"]
    check_poll(poll)
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
    state = await api.state(poll)
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


async def test_whoever_knows_the_id_or_the_code_reads_a_poll_without_a_token(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    by_id = ok(await api.get(f"/polls/{poll['id']}"))
    assert set(by_id) == {"poll", "tally", "yourVote"}
    assert by_id["poll"] == poll
    assert by_id["yourVote"] is None
    assert (by_id["tally"]["voters"], by_id["tally"]["final"]) == (0, False)
    assert ok(await api.get(f"/join/{poll['code']}")) == by_id


async def test_codes_are_read_without_regard_to_case(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    code = poll["code"]
    for spelt in (code, code.lower(), code[:3].lower() + code[3:]):
        assert ok(await api.get(f"/join/{spelt}"))["poll"]["id"] == poll["id"]


async def test_codes_differ(api: Api, owner: Person) -> None:
    polls = await asyncio.gather(*(api.poll(owner) for _ in range(10)))
    assert len({poll["code"] for poll in polls}) == len({poll["id"] for poll in polls}) == 10


UNKNOWN = [
    "unknown",
    "x" * 26,
    "x" * 27,
    "x" * 3000,
    "a.b",
    "%20",
    "%00",
    "%ff",
    "a%2Fb",
    "💥",
    "-",
    "..%2Fauth",
]


@pytest.mark.parametrize("poll_id", UNKNOWN, ids=lambda value: value[:30])
async def test_an_unknown_or_malformed_id_or_code_is_not_found(api: Api, owner: Person, poll_id: str) -> None:
    for method, path, body in (
        ("GET", f"/polls/{poll_id}", None),
        ("GET", f"/join/{poll_id}", None),
        ("GET", f"/polls/{poll_id}/results", None),
        ("PATCH", f"/polls/{poll_id}", {}),
        ("DELETE", f"/polls/{poll_id}", None),
        ("POST", f"/polls/{poll_id}/open", None),
        ("POST", f"/polls/{poll_id}/close", None),
        ("POST", f"/polls/{poll_id}/votes", {"optionIds": ["x"]}),
        ("DELETE", f"/polls/{poll_id}/votes/mine", None),
    ):
        problem(await api.call(method, path, body, owner), "NOT_FOUND")


@pytest.mark.parametrize(
    "code", ["IIIIII", "LLLLLL", "OOOOOO", "000000", "AAAAA", "AAAAAAA", "AAA AA", "ÄÄÄÄÄÄ"]
)
async def test_a_code_that_cannot_be_one_is_not_found(api: Api, code: str) -> None:
    problem(await api.get(f"/join/{code}"), "NOT_FOUND")


async def test_a_draft_exists_for_its_owner_alone(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, draft=True, guests=True)
    assert poll["status"] == "draft"
    for path in (f"/polls/{poll['id']}", f"/join/{poll['code']}", f"/polls/{poll['id']}/results"):
        ok(await api.get(path, owner))
        problem(await api.get(path), "NOT_FOUND")
        problem(await api.get(path, guest), "NOT_FOUND")
    stranger = guest
    problem(await api.patch(f"/polls/{poll['id']}", {}, stranger), "NOT_FOUND")
    problem(await api.delete(f"/polls/{poll['id']}", stranger), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/open", None, stranger), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/close", None, stranger), "NOT_FOUND")
    (await api.vote(stranger, poll["id"], option_ids(poll)[:1])).refused("NOT_FOUND")
    async with ws(stranger) as sock:
        for field in ({"pollId": poll["id"]}, {"code": poll["code"]}):
            await sock.send({"type": "JOIN_POLL"} | field)
            assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
        (await sock.vote(poll["id"], option_ids(poll)[:1])).refused("NOT_FOUND")
    async with ws(owner) as sock:
        assert (await sock.join(poll))["poll"]["status"] == "draft"


async def test_a_draft_opens_only_by_open(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True, opensAt="2020-01-01T00:00:00Z")
    assert poll["status"] == "draft"
    assert (await api.state(poll, owner))["poll"]["status"] == "draft"
    assert (await api.open(owner, poll))["poll"]["status"] == "open"


async def test_results_are_the_polls_id_options_and_tally(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    (await api.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
    results = ok(await api.get(f"/polls/{poll['id']}/results"))
    assert set(results) == {"pollId", "options", "tally"}
    assert (results["pollId"], results["options"]) == (poll["id"], poll["options"])
    assert results["tally"] == await api.tally(poll)
    assert results["tally"]["counts"][option_ids(poll)[0]] == 1


async def test_counts_name_every_option(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=["a", "b", "c"])
    assert (await api.tally(poll))["counts"] == dict.fromkeys(option_ids(poll), 0)


async def test_only_the_owner_edits_opens_closes_and_deletes(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner)
    stranger = await api.user()
    for who, code in ((None, "UNAUTHENTICATED"), (guest, "FORBIDDEN"), (stranger, "FORBIDDEN")):
        problem(await api.patch(f"/polls/{poll['id']}", {"question": "Mine"}, who), code)
        problem(await api.post(f"/polls/{poll['id']}/open", None, who), code)
        problem(await api.post(f"/polls/{poll['id']}/close", None, who), code)
        problem(await api.delete(f"/polls/{poll['id']}", who), code)
    state = await api.state(poll)
    assert state["poll"] == poll


async def test_deleting_answers_204_and_nothing_is_left_to_see(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True)
    options = option_ids(poll)
    (await api.vote(guest, poll["id"], options[:1], id="mine")).fresh()
    response = await api.delete(f"/polls/{poll['id']}", owner)
    assert (response.status_code, response.content) == (204, b"")
    for who in (None, guest, owner):
        problem(await api.get(f"/polls/{poll['id']}", who), "NOT_FOUND")
        problem(await api.get(f"/join/{poll['code']}", who), "NOT_FOUND")
        problem(await api.get(f"/polls/{poll['id']}/results", who), "NOT_FOUND")
    problem(await api.delete(f"/polls/{poll['id']}", owner), "NOT_FOUND")
    problem(await api.patch(f"/polls/{poll['id']}", {"question": "Q"}, owner), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/close", None, owner), "NOT_FOUND")
    (await api.vote(guest, poll["id"], options[:1], id="mine")).refused("NOT_FOUND")
    (await api.vote(owner, poll["id"], options[:1])).refused("NOT_FOUND")
    (await api.retract(guest, poll["id"])).refused("NOT_FOUND")
    async with ws(guest) as sock:
        await sock.send({"type": "JOIN_POLL", "pollId": poll["id"]})
        assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
        (await sock.vote(poll["id"], options[:1], id="mine")).refused("NOT_FOUND")


async def test_a_deleted_poll_leaves_the_list(api: Api) -> None:
    user = await api.user()
    kept, gone = await api.poll(user), await api.poll(user)
    await api.delete(f"/polls/{gone['id']}", user)
    assert [poll["id"] for poll in ok(await api.get("/polls", user))["items"]] == [kept["id"]]


async def test_deleting_twice_at_once_is_one_204_and_one_not_found(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    responses = await asyncio.gather(*(api.delete(f"/polls/{poll['id']}", owner) for _ in range(4)))
    assert {response.status_code for response in responses} <= {204, 404}
    assert 204 in {response.status_code for response in responses}


async def test_the_status_follows_the_clock_when_nobody_watches(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, opensAt=ahead(0.4), closesAt=ahead(0.9))
    seen: list[str] = []

    async def status() -> str:
        state = await api.state(poll)
        seen.append(state["poll"]["status"])
        return seen[-1]

    await eventually(status, lambda now: now == "closed")
    assert sorted(set(seen), key=seen.index) == ["scheduled", "open", "closed"]
    assert (await api.tally(poll))["final"] is True
