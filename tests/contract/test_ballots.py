"""The rules of ballots that every transport shares: each over HTTP and over WebSocket."""

import asyncio
from typing import Any

import pytest

from tests.harness.http import Answer, Api, Person, names_field
from tests.harness.shapes import BALLOT_ID, STATUS, TIME, counted, option_ids
from tests.harness.wait import ahead

pytestmark = pytest.mark.anyio

Ballots = Any
Case = tuple[dict[str, Any], list[str]]


@pytest.fixture
async def case(api: Api, owner: Person) -> Case:
    """A poll of three options that guests may vote in once, and its option ids."""
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True)
    return poll, option_ids(poll)


@pytest.fixture
async def changing(api: Api, owner: Person) -> Case:
    """As ``case``, with changes allowed and up to two choices."""
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True, allowChange=True, maxChoices=2)
    return poll, option_ids(poll)


async def standing(api: Api, who: Person, poll: dict[str, Any]) -> Any:
    return (await api.state(poll, who))["yourVote"]


async def test_an_accepted_ballot_is_answered_with_what_was_counted(
    api: Api, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    before = await api.tally(poll)
    answer = (await ballots.vote(guest, poll["id"], [options[1]], id="my-1_ballot")).fresh()
    assert (answer["id"], answer["pollId"], answer["optionIds"]) == ("my-1_ballot", poll["id"], [options[1]])
    assert TIME.match(answer["castAt"])
    assert answer["seq"] > before["seq"]
    tally = await api.tally(poll)
    assert tally["seq"] >= answer["seq"]
    assert (tally["voters"], counted(tally)) == (1, {options[1]: 1})
    assert await standing(api, guest, poll) == {
        name: answer[name] for name in ("id", "optionIds", "seq", "castAt")
    }


async def test_the_same_ballot_again_gets_its_first_answer_and_alters_nothing(
    api: Api, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    first = await ballots.vote(guest, poll["id"], options[:1], id="b")
    first.fresh()
    before = await api.state(poll, guest)
    for _ in range(3):
        (await ballots.vote(guest, poll["id"], options[:1], id="b")).repeats(first)
    assert await api.state(poll, guest) == before


async def test_a_ballot_is_the_same_on_the_other_transport(
    api: Api, ballots: Ballots, case: Case, guest: Person, ws: Any
) -> None:
    poll, options = case
    first = await ballots.vote(guest, poll["id"], options[:1], id="b")
    first.fresh()
    (await api.vote(guest, poll["id"], options[:1], id="b")).repeats(first)
    async with ws(guest) as sock:
        (await sock.vote(poll["id"], options[:1], id="b")).repeats(first)
        (await sock.vote(poll["id"], options[1:2], id="b")).refused("BALLOT_ID_REUSED")
    (await api.vote(guest, poll["id"], options[1:2], id="b")).refused("BALLOT_ID_REUSED")


async def test_the_order_of_options_makes_no_difference_and_the_first_one_is_answered(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    first = await ballots.vote(guest, poll["id"], [options[2], options[0]], id="b")
    assert first.fresh()["optionIds"] == [options[2], options[0]]
    (await ballots.vote(guest, poll["id"], [options[0], options[2]], id="b")).repeats(first)
    assert (await standing(api, guest, poll))["optionIds"] == [options[2], options[0]]


async def test_an_option_id_is_a_list_of_one(ballots: Ballots, case: Case, guest: Person) -> None:
    poll, options = case
    first = await ballots.vote(guest, poll["id"], optionId=options[0], id="b")
    assert first.fresh()["optionIds"] == [options[0]]
    (await ballots.vote(guest, poll["id"], [options[0]], id="b")).repeats(first)


async def test_the_same_id_with_other_choices_is_ballot_id_reused(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], [options[0]], id="b")).fresh()
    before = await api.state(poll, guest)
    for other in ([options[1]], [options[0], options[1]]):
        (await ballots.vote(guest, poll["id"], other, id="b")).refused("BALLOT_ID_REUSED")
    assert await api.state(poll, guest) == before


async def test_an_id_belongs_to_one_voter_and_one_poll(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    other = await api.poll(owner, guests=True)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    (await ballots.vote(await api.guest(), poll["id"], options[1:2], id="b")).fresh()
    (await ballots.vote(guest, other["id"], option_ids(other)[:1], id="b")).fresh()


async def test_ids_differ_by_case(ballots: Ballots, changing: Case, guest: Person) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="ballot")).fresh()
    (await ballots.vote(guest, poll["id"], options[1:2], id="BALLOT")).fresh()


@pytest.mark.parametrize("id_", ["x", "-", "_", "0", "A-_z9" * 12 + "abcd"], ids=lambda value: value[:5])
async def test_an_id_has_1_to_64_characters(ballots: Ballots, case: Case, guest: Person, id_: str) -> None:
    poll, options = case
    assert (await ballots.vote(guest, poll["id"], options[:1], id=id_)).fresh()["id"] == id_


@pytest.mark.parametrize(
    "id_",
    ["", "x" * 65, "a b", "a.b", "ä", "a\n", "a\0", "💥", 5, True, ["a"], {"a": 1}, 10**30],
    ids=lambda value: repr(value)[:12],
)
async def test_an_id_of_another_form_is_refused_and_not_repeated(
    api: Api, ballots: Ballots, case: Case, guest: Person, id_: Any
) -> None:
    poll, options = case
    error = (await ballots.vote(guest, poll["id"], options[:1], id=id_)).refused("VALIDATION_FAILED")
    assert names_field(error["fields"], "id")
    assert "id" not in error
    assert await standing(api, guest, poll) is None


async def test_a_refused_ballot_is_not_remembered(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    poll = await api.poll(owner, opensAt=ahead(1000))
    options = option_ids(poll)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).refused("FORBIDDEN")
    await api.edit(owner, poll, guests=True)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).refused("POLL_NOT_OPEN")
    await api.open(owner, poll)
    (await ballots.vote(guest, poll["id"], ["no-option"], id="b")).refused("INVALID_OPTION")
    (await ballots.vote(guest, poll["id"], options, id="b")).refused("INVALID_CHOICE_COUNT")
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    (await ballots.vote(guest, poll["id"], options[1:], id="c")).refused("ALREADY_VOTED")
    await api.edit(owner, poll, allowChange=True)
    (await ballots.vote(guest, poll["id"], options[:1], id="c")).fresh()


async def test_without_an_id_the_server_makes_one_and_a_retry_is_a_new_ballot(
    ballots: Ballots, case: Case, changing: Case, guest: Person
) -> None:
    poll, options = case
    answer = (await ballots.vote(guest, poll["id"], options[:1])).fresh()
    assert BALLOT_ID.match(answer["id"])
    (await ballots.vote(guest, poll["id"], options[:1])).refused("ALREADY_VOTED")
    assert (await ballots.vote(guest, poll["id"], options[:1], id=answer["id"])).body["repeated"] is True
    poll, options = changing
    first = (await ballots.vote(guest, poll["id"], options[:1])).fresh()
    second = (await ballots.vote(guest, poll["id"], options[:1])).fresh()
    assert first["id"] != second["id"]
    assert first["seq"] < second["seq"]


async def test_a_second_id_without_changes_allowed_is_already_voted(
    api: Api, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    before = await api.state(poll, guest)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).refused("ALREADY_VOTED")
    (await ballots.vote(guest, poll["id"], options[1:2], id="c")).refused("ALREADY_VOTED")
    assert await api.state(poll, guest) == before


# Order of checks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optionIds": None},
        {"optionIds": "x"},
        {"optionIds": [5]},
        {"optionIds": [None]},
        {"optionIds": {"a": 1}},
        {"optionIds": ["same", "same"]},
        {"optionId": 5},
        {"optionId": ["x"]},
        {"optionId": "x", "optionIds": ["x"]},
        {"optionIds": ["x"], "weight": 2},
        {"optionIds": ["x"], "id": "not valid"},
    ],
    ids=str,
)
async def test_the_form_is_checked_before_the_token_and_everything_else(
    ballots: Ballots, case: Case, guest: Person, fields: dict[str, Any]
) -> None:
    poll, _ = case
    for who in (None, guest):
        for poll_id in (poll["id"], "unknown"):
            error = (await ballots.vote(who, poll_id, **fields)).refused("VALIDATION_FAILED")
            assert error["fields"]


async def test_an_unknown_field_of_a_ballot_is_named(ballots: Ballots, case: Case, guest: Person) -> None:
    poll, options = case
    error = (await ballots.vote(guest, poll["id"], options[:1], optoinIds=[])).refused("VALIDATION_FAILED")
    assert names_field(error["fields"], "optoinIds")


async def test_the_form_is_checked_before_a_bad_token_over_http(api: Api, case: Case) -> None:
    poll, options = case
    (await api.vote("garbage", poll["id"], [options[0], options[0]])).refused("VALIDATION_FAILED")
    (await api.vote("garbage", poll["id"], options[:1])).refused("UNAUTHENTICATED")


async def test_the_token_is_checked_before_the_poll(ballots: Ballots, case: Case) -> None:
    poll, options = case
    (await ballots.vote(None, "unknown", options[:1])).refused("UNAUTHENTICATED")
    (await ballots.vote(None, poll["id"], [])).refused("UNAUTHENTICATED")
    (await ballots.retract(None, "unknown")).refused("UNAUTHENTICATED")


async def test_not_found_comes_before_forbidden(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    draft = await api.poll(owner, draft=True)
    (await ballots.vote(guest, draft["id"], option_ids(draft)[:1])).refused("NOT_FOUND")
    (await ballots.retract(guest, draft["id"])).refused("NOT_FOUND")


@pytest.mark.parametrize("poll_id", ["unknown", "x" * 27, "not an id", "ä", "a.b"])
async def test_a_malformed_poll_id_is_not_found(ballots: Ballots, guest: Person, poll_id: str) -> None:
    (await ballots.vote(guest, poll_id, ["x"])).refused("NOT_FOUND")
    (await ballots.retract(guest, poll_id)).refused("NOT_FOUND")


async def test_forbidden_comes_before_a_known_ballot_id(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    await api.edit(owner, poll, guests=False)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).refused("FORBIDDEN")
    (await ballots.vote(guest, poll["id"], options[1:2], id="b")).refused("FORBIDDEN")
    (await ballots.retract(guest, poll["id"], "r")).refused("FORBIDDEN")
    await api.edit(owner, poll, guests=True)
    assert (await ballots.vote(guest, poll["id"], options[:1], id="b")).body["repeated"] is True


async def test_forbidden_comes_before_the_polls_status(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    closed, scheduled = await api.poll(owner), await api.poll(owner, opensAt=ahead(1000))
    await api.close(owner, closed)
    (await ballots.vote(guest, closed["id"], option_ids(closed)[:1])).refused("FORBIDDEN")
    (await ballots.vote(guest, scheduled["id"], ["x"])).refused("FORBIDDEN")


async def test_a_known_ballot_id_comes_before_the_close_and_before_the_options(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    first = await ballots.vote(guest, poll["id"], options[:1], id="b")
    for choices in (["foreign"], [], options):
        (await ballots.vote(guest, poll["id"], choices, id="b")).refused("BALLOT_ID_REUSED")
    await api.close(owner, poll)
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).repeats(first)
    for choices in (options[1:2], ["foreign"], []):
        (await ballots.vote(guest, poll["id"], choices, id="b")).refused("BALLOT_ID_REUSED")


@pytest.mark.parametrize("status", ["draft", "scheduled", "closed"])
async def test_the_polls_status_comes_before_the_options_and_the_count(
    api: Api, owner: Person, ballots: Ballots, status: str
) -> None:
    fields = {"draft": {"draft": True}, "scheduled": {"opensAt": ahead(1000)}, "closed": {}}[status]
    poll = await api.poll(owner, allowChange=True, **fields)
    if status == "closed":
        await api.close(owner, poll)
    code = "POLL_CLOSED" if status == "closed" else "POLL_NOT_OPEN"
    for choices in (option_ids(poll)[:1], ["foreign"], [], option_ids(poll)):
        (await ballots.vote(owner, poll["id"], choices)).refused(code)
    (await ballots.retract(owner, poll["id"])).refused(code)


async def test_the_polls_status_comes_before_change_not_allowed(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    await api.close(owner, poll)
    (await ballots.vote(guest, poll["id"], options[:1], id="c")).refused("POLL_CLOSED")
    (await ballots.retract(guest, poll["id"], "r")).refused("POLL_CLOSED")


async def test_an_invalid_option_comes_before_the_count(ballots: Ballots, case: Case, guest: Person) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], [*options, "foreign"])).refused("INVALID_OPTION")
    (await ballots.vote(guest, poll["id"], options[:2])).refused("INVALID_CHOICE_COUNT")


async def test_options_and_count_come_before_already_voted(
    ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    (await ballots.vote(guest, poll["id"], ["foreign"], id="c")).refused("INVALID_OPTION")
    (await ballots.vote(guest, poll["id"], [], id="c")).refused("INVALID_CHOICE_COUNT")
    (await ballots.vote(guest, poll["id"], options[:2], id="c")).refused("INVALID_CHOICE_COUNT")
    (await ballots.vote(guest, poll["id"], options[1:2], id="c")).refused("ALREADY_VOTED")


# Choices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", ["", "x", "x" * 300, "not an id", "💥", "a.b", "0", "null", "voters", "__proto__"], ids=repr
)
async def test_an_option_of_any_form_that_is_not_the_polls_is_invalid(
    api: Api, ballots: Ballots, case: Case, guest: Person, option: str
) -> None:
    poll, options = case
    (await ballots.vote(guest, poll["id"], [option])).refused("INVALID_OPTION")
    (await ballots.vote(guest, poll["id"], optionId=option)).refused("INVALID_OPTION")
    assert (await api.tally(poll))["voters"] == 0
    (await ballots.vote(guest, poll["id"], options[:1])).fresh()


async def test_an_option_of_another_poll_is_invalid(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    other = option_ids(await api.poll(owner, guests=True))
    if set(other) & set(options):
        other = ["foreign"]
    (await ballots.vote(guest, poll["id"], other[:1])).refused("INVALID_OPTION")


async def test_option_ids_differ_by_case(api: Api, ballots: Ballots, case: Case, guest: Person) -> None:
    poll, options = case
    swapped = options[0].swapcase()
    if swapped not in options:
        (await ballots.vote(guest, poll["id"], [swapped])).refused("INVALID_OPTION")


async def test_the_number_of_choices_is_held_to_the_limits(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    poll = await api.poll(owner, options=["a", "b", "c", "d"], minChoices=2, maxChoices=3, guests=True)
    options = option_ids(poll)
    for choices in ([], options[:1], options):
        (await ballots.vote(guest, poll["id"], choices)).refused("INVALID_CHOICE_COUNT")
    (await ballots.vote(guest, poll["id"], options[:3])).fresh()
    (await ballots.vote(await api.guest(), poll["id"], options[2:])).fresh()
    tally = await api.tally(poll)
    assert tally["voters"] == 2
    assert tally["counts"] == dict(zip(options, (1, 1, 2, 1), strict=True))


async def test_guests_vote_only_where_guests_is_true_and_an_owner_may_vote(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    poll = await api.poll(owner)
    (await ballots.vote(guest, poll["id"], option_ids(poll)[:1])).refused("FORBIDDEN")
    (await ballots.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()


# Changing -------------------------------------------------------------------------------------------------------


async def test_a_new_id_replaces_the_ballot_and_takes_a_new_seq(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    first = (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    second = (await ballots.vote(guest, poll["id"], options[1:3], id="b")).fresh()
    assert second["seq"] > first["seq"]
    tally = await api.tally(poll)
    assert (tally["voters"], counted(tally)) == (1, {options[1]: 1, options[2]: 1})
    assert (await standing(api, guest, poll))["id"] == "b"


async def test_the_same_choices_under_a_new_id_are_a_new_ballot(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    first = (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    second = (await ballots.vote(guest, poll["id"], options[:1], id="b")).fresh()
    assert second["seq"] > first["seq"]
    assert counted(await api.tally(poll)) == {options[0]: 1}


async def test_a_late_copy_of_a_replaced_ballot_changes_nothing(
    api: Api, owner: Person, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    first = await ballots.vote(guest, poll["id"], options[:1], id="a")
    second = await ballots.vote(guest, poll["id"], options[1:2], id="b")
    second.fresh()
    before = await api.state(poll, guest)
    for _ in range(2):
        (await ballots.vote(guest, poll["id"], options[:1], id="a")).repeats(first)
        (await ballots.vote(guest, poll["id"], options[1:2], id="b")).repeats(second)
    (await ballots.vote(guest, poll["id"], options[1:2], id="a")).refused("BALLOT_ID_REUSED")
    assert await api.state(poll, guest) == before
    assert before["yourVote"]["id"] == "b"
    await api.close(owner, poll)
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).repeats(first)
    (await ballots.vote(guest, poll["id"], options[1:2], id="b")).repeats(second)
    assert (await standing(api, guest, poll))["id"] == "b"


async def test_at_most_64_ids_a_voter_and_poll_and_each_still_gets_its_first_answer(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    answers: list[tuple[str, Answer]] = []
    for number in range(64):
        if number % 16 == 9:
            answer = await ballots.retract(guest, poll["id"], f"id-{number}")
        else:
            answer = await ballots.vote(guest, poll["id"], [options[number % 3]], id=f"id-{number}")
        answer.fresh()
        answers.append((f"id-{number}", answer))
    before = await api.state(poll, guest)
    (await ballots.vote(guest, poll["id"], options[:1], id="one-more")).refused("CHANGE_LIMIT")
    (await ballots.retract(guest, poll["id"], "another")).refused("CHANGE_LIMIT")
    (await ballots.vote(guest, poll["id"], options[:1])).refused("CHANGE_LIMIT")
    (await ballots.vote(guest, poll["id"], ["foreign"], id="one-more")).refused("INVALID_OPTION")
    (await ballots.vote(guest, poll["id"], [], id="one-more")).refused("INVALID_CHOICE_COUNT")
    (await ballots.vote(guest, poll["id"], options[:2], id="id-0")).refused("BALLOT_ID_REUSED")
    for number, (id_, first) in enumerate(answers):
        if number % 16 == 9:
            again = await ballots.retract(guest, poll["id"], id_)
        else:
            again = await ballots.vote(guest, poll["id"], [options[number % 3]], id=id_)
        again.repeats(first)
    assert await api.state(poll, guest) == before
    assert before["yourVote"]["id"] == "id-63"
    (await ballots.vote(await api.guest(), poll["id"], options[:1], id="id-0")).fresh()


async def test_refused_ballots_and_copies_are_not_among_the_64(
    ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="first")).fresh()
    for number in range(70):
        (await ballots.vote(guest, poll["id"], ["foreign"], id=f"bad-{number}")).refused("INVALID_OPTION")
        (await ballots.vote(guest, poll["id"], options[:1], id="first"))
    (await ballots.vote(guest, poll["id"], options[1:2], id="second")).fresh()


async def test_changes_switched_off_leave_who_voted_already_voted(
    api: Api, owner: Person, ballots: Ballots, changing: Case
) -> None:
    poll, options = changing
    voted, retracted, retracted_nothing = await api.guests(3)
    first = await ballots.vote(voted, poll["id"], options[:1], id="a")
    second = await ballots.vote(voted, poll["id"], options[1:2], id="b")
    taken = await ballots.vote(retracted, poll["id"], options[:1], id="a")
    back = await ballots.retract(retracted, poll["id"], "r")
    nothing = await ballots.retract(retracted_nothing, poll["id"], "r")
    await api.edit(owner, poll, allowChange=False)
    (await ballots.vote(voted, poll["id"], options[:1], id="c")).refused("ALREADY_VOTED")
    (await ballots.vote(retracted, poll["id"], options[:1], id="c")).refused("ALREADY_VOTED")
    for who in (voted, retracted, retracted_nothing):
        (await ballots.retract(who, poll["id"], "new")).refused("CHANGE_NOT_ALLOWED")
    (await ballots.vote(voted, poll["id"], options[:1], id="a")).repeats(first)
    (await ballots.vote(voted, poll["id"], options[1:2], id="b")).repeats(second)
    (await ballots.vote(retracted, poll["id"], options[:1], id="a")).repeats(taken)
    (await ballots.retract(retracted, poll["id"], "r")).repeats(back)
    (await ballots.retract(retracted_nothing, poll["id"], "r")).repeats(nothing)
    tally = await api.tally(poll)
    assert (tally["voters"], counted(tally)) == (1, {options[1]: 1})
    (await ballots.vote(retracted_nothing, poll["id"], options[:1], id="c")).fresh()
    (await ballots.vote(retracted_nothing, poll["id"], options[:1], id="d")).refused("ALREADY_VOTED")


async def test_changes_switched_on_let_who_voted_change(
    api: Api, owner: Person, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    first = await ballots.vote(guest, poll["id"], options[:1], id="a")
    await api.edit(owner, poll, allowChange=True)
    (await ballots.vote(guest, poll["id"], options[1:2], id="b")).fresh()
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).repeats(first)
    assert counted(await api.tally(poll)) == {options[1]: 1}


# Retracting -----------------------------------------------------------------------------------------------------


async def test_retracting_takes_the_vote_back(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    vote = (await ballots.vote(guest, poll["id"], options[:2], id="a")).fresh()
    back = (await ballots.retract(guest, poll["id"], "r")).fresh()
    assert (back["id"], back["pollId"]) == ("r", poll["id"])
    assert back["seq"] > vote["seq"]
    state = await api.state(poll, guest)
    assert (state["tally"]["voters"], counted(state["tally"]), state["yourVote"]) == (0, {}, None)
    assert state["tally"]["seq"] >= back["seq"]


async def test_retracting_is_idempotent_by_its_own_id(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    back = await ballots.retract(guest, poll["id"], "r")
    back.fresh()
    (await ballots.retract(guest, poll["id"], "r")).repeats(back)
    (await ballots.vote(guest, poll["id"], options[1:2], id="b")).fresh()
    before = await api.state(poll, guest)
    (await ballots.retract(guest, poll["id"], "r")).repeats(back)
    assert await api.state(poll, guest) == before
    assert before["yourVote"]["id"] == "b"


async def test_a_late_copy_of_a_retracted_ballot_changes_nothing(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    first = await ballots.vote(guest, poll["id"], options[:1], id="a")
    (await ballots.retract(guest, poll["id"], "r")).fresh()
    before = await api.state(poll, guest)
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).repeats(first)
    assert await api.state(poll, guest) == before
    assert before["yourVote"] is None


async def test_without_an_id_the_server_makes_one_for_a_retraction(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    back = (await ballots.retract(guest, poll["id"])).fresh()
    assert BALLOT_ID.match(back["id"])
    assert back["id"] != "a"
    (await ballots.vote(guest, poll["id"], options[:1], id=back["id"])).refused("BALLOT_ID_REUSED")


async def test_retracting_without_changes_allowed_is_change_not_allowed(
    api: Api, ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    (await ballots.retract(guest, poll["id"], "r")).refused("CHANGE_NOT_ALLOWED")
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    before = await api.state(poll, guest)
    (await ballots.retract(guest, poll["id"], "r")).refused("CHANGE_NOT_ALLOWED")
    (await ballots.retract(guest, poll["id"])).refused("CHANGE_NOT_ALLOWED")
    assert await api.state(poll, guest) == before


async def test_retracting_nothing_succeeds_changes_nothing_and_is_remembered(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    before = await api.state(poll, guest)
    nothing = await ballots.retract(guest, poll["id"], "r")
    assert nothing.fresh()["seq"] == before["tally"]["seq"]
    assert await api.state(poll, guest) == before
    vote = await ballots.vote(guest, poll["id"], options[:1], id="a")
    vote.fresh()
    (await ballots.retract(guest, poll["id"], "r")).repeats(nothing)
    assert (await standing(api, guest, poll))["id"] == "a"
    (await ballots.vote(guest, poll["id"], options[:1], id="r")).refused("BALLOT_ID_REUSED")


async def test_retracting_a_second_time_under_a_new_id_retracts_nothing(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    (await ballots.retract(guest, poll["id"], "r")).fresh()
    before = await api.tally(poll)
    assert (await ballots.retract(guest, poll["id"], "s")).fresh()["seq"] == before["seq"]
    assert await api.tally(poll) == before


async def test_votes_and_retractions_share_one_namespace_of_ids(
    api: Api, owner: Person, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    (await ballots.retract(guest, poll["id"], "a")).refused("BALLOT_ID_REUSED")
    assert (await standing(api, guest, poll))["id"] == "a"
    (await ballots.retract(guest, poll["id"], "r")).fresh()
    for choices in (options[:1], []):
        (await ballots.vote(guest, poll["id"], choices, id="r")).refused("BALLOT_ID_REUSED")
    await api.close(owner, poll)
    (await ballots.vote(guest, poll["id"], options[:1], id="r")).refused("BALLOT_ID_REUSED")
    (await ballots.retract(guest, poll["id"], "a")).refused("BALLOT_ID_REUSED")


async def test_a_retraction_gets_its_first_answer_after_the_close(
    api: Api, owner: Person, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    back = await ballots.retract(guest, poll["id"], "r")
    await api.close(owner, poll)
    (await ballots.retract(guest, poll["id"], "r")).repeats(back)
    (await ballots.retract(guest, poll["id"], "s")).refused("POLL_CLOSED")


async def test_guests_retract_only_where_guests_is_true(
    api: Api, owner: Person, ballots: Ballots, guest: Person
) -> None:
    poll = await api.poll(owner, allowChange=True)
    (await ballots.retract(guest, poll["id"])).refused("FORBIDDEN")


@pytest.mark.parametrize("id_", ["", "x" * 65, "a b"], ids=lambda value: repr(value)[:8])
async def test_a_retractions_id_has_the_form_of_a_ballots(
    ballots: Ballots, changing: Case, guest: Person, id_: str
) -> None:
    poll, _ = changing
    (await ballots.retract(guest, poll["id"], id_)).refused("VALIDATION_FAILED")
    (await ballots.retract(None, "unknown", id_)).refused("VALIDATION_FAILED")


# The key of HTTP ------------------------------------------------------------------------------------------------


async def test_an_idempotency_key_is_the_ballots_id(api: Api, case: Case, guest: Person, ws: Any) -> None:
    poll, options = case
    path, body = f"/polls/{poll['id']}/votes", {"optionIds": options[:1]}
    response = await api.post(path, body, guest, key="the-key")
    assert response.status_code == 201
    first = Answer(None, response.json())
    assert first.body["id"] == "the-key"
    for again in (
        await api.post(path, body, guest, key="the-key"),
        await api.post(path, body | {"id": "the-key"}, guest),
        await api.post(path, body | {"id": "the-key"}, guest, key="the-key"),
    ):
        assert again.status_code == 200
        Answer(None, again.json()).repeats(first)
    async with ws(guest) as sock:
        (await sock.vote(poll["id"], options[:1], id="the-key")).repeats(first)


async def test_an_id_that_differs_from_the_idempotency_key_is_a_validation_error(
    api: Api, case: Case, guest: Person
) -> None:
    poll, options = case
    body = {"optionIds": options[:1], "id": "one"}
    response = await api.post(f"/polls/{poll['id']}/votes", body, guest, key="two")
    assert (response.status_code, response.json()["code"]) == (422, "VALIDATION_FAILED")


@pytest.mark.parametrize(
    "key", ["", "x" * 65, "a b", "a.b", "ä".encode()], ids=["empty", "65", "space", "dot", "utf-8"]
)
async def test_on_votes_the_key_obeys_the_rules_of_an_id(
    api: Api, changing: Case, guest: Person, key: Any
) -> None:
    poll, options = changing
    for response in (
        await api.post(f"/polls/{poll['id']}/votes", {"optionIds": options[:1]}, guest, key=key),
        await api.delete(f"/polls/{poll['id']}/votes/mine", guest, key=key),
    ):
        assert (response.status_code, response.json()["code"]) == (422, "VALIDATION_FAILED")


# At once --------------------------------------------------------------------------------------------------------


async def test_200_racing_ballots_of_one_voter_over_both_transports_are_one_ballot(
    api: Api, case: Case, guest: Person, ws: Any
) -> None:
    poll, options = case
    async with ws(guest) as one, ws(guest) as two:
        answers = await asyncio.gather(
            *(api.vote(guest, poll["id"], [options[n % 3]], id=f"h{n}") for n in range(100)),
            *(one.vote(poll["id"], [options[n % 3]], id=f"one{n}") for n in range(50)),
            *(two.vote(poll["id"], [options[n % 3]], id=f"two{n}") for n in range(50)),
        )
    taken = [answer for answer in answers if answer.code is None]
    assert len(taken) == 1
    assert {answer.code for answer in answers if answer.code} == {"ALREADY_VOTED"}
    state = await api.state(poll, guest)
    assert state["tally"]["voters"] == 1
    assert counted(state["tally"]) == {taken[0].body["optionIds"][0]: 1}
    assert state["yourVote"]["id"] == taken[0].body["id"]


async def test_200_racing_duplicates_of_one_ballot_over_both_transports_are_one_ballot(
    api: Api, case: Case, guest: Person, ws: Any
) -> None:
    poll, options = case
    async with ws(guest) as one, ws(guest) as two:
        answers = await asyncio.gather(
            *(api.vote(guest, poll["id"], options[:1], id="b") for _ in range(100)),
            *(one.vote(poll["id"], options[:1], id="b") for _ in range(50)),
            *(two.vote(poll["id"], options[:1], id="b") for _ in range(50)),
        )
    assert [answer.code for answer in answers] == [None] * 200
    assert sum(not answer.body["repeated"] for answer in answers) == 1
    assert all(answer.first == answers[0].first for answer in answers)
    tally = await api.tally(poll)
    assert (tally["voters"], counted(tally)) == (1, {options[0]: 1})


async def test_50_copies_at_once_are_one_fresh_and_49_repeated_answers_with_the_same_seq(
    ballots: Ballots, case: Case, guest: Person
) -> None:
    poll, options = case
    answers = await asyncio.gather(*(ballots.vote(guest, poll["id"], options[:1], id="b") for _ in range(50)))
    assert sorted(answer.body["repeated"] for answer in answers) == [False] + [True] * 49
    assert len({answer.body["seq"] for answer in answers}) == 1


async def test_copies_of_one_retraction_at_once_are_one(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    (await ballots.vote(guest, poll["id"], options[:1], id="a")).fresh()
    answers = await asyncio.gather(*(ballots.retract(guest, poll["id"], "r") for _ in range(30)))
    assert sorted(answer.body["repeated"] for answer in answers) == [False] + [True] * 29
    assert len({answer.body["seq"] for answer in answers}) == 1
    assert (await api.tally(poll))["voters"] == 0


async def test_racing_changes_leave_the_one_with_the_highest_seq(
    api: Api, ballots: Ballots, changing: Case, guest: Person
) -> None:
    poll, options = changing
    answers = await asyncio.gather(
        *(ballots.vote(guest, poll["id"], [options[n % 3]], id=f"b{n}") for n in range(40))
    )
    seqs = [answer.fresh()["seq"] for answer in answers]
    assert len(set(seqs)) == 40
    last = max((answer.body for answer in answers), key=lambda body: body["seq"])
    state = await api.state(poll, guest)
    assert state["yourVote"]["id"] == last["id"]
    assert (state["tally"]["voters"], counted(state["tally"])) == (1, {last["optionIds"][0]: 1})


async def test_every_ballot_has_a_seq_of_its_own_and_a_tally_at_or_past_it_includes_it(
    api: Api, ballots: Ballots, case: Case, ws: Any
) -> None:
    poll, options = case
    voters = await api.guests(25)
    async with ws() as sock:
        await sock.join(poll)
        answers = await asyncio.gather(*(ballots.vote(v, poll["id"], options[:1]) for v in voters))
        await sock.shows(poll, voters=25)
        seqs = sorted(answer.fresh()["seq"] for answer in answers)
        assert len(set(seqs)) == 25
        for frame in sock.since(0):
            if "tally" in frame:
                included = sum(seq <= frame["tally"]["seq"] for seq in seqs)
                assert frame["tally"]["voters"] == included


async def test_a_voter_in_turn_sees_each_answer_before_the_next(
    api: Api, changing: Case, guest: Person, ws: Any
) -> None:
    poll, options = changing
    async with ws(guest) as sock:
        for number in range(20):
            await sock.send(
                {"type": "VOTE", "pollId": poll["id"], "optionIds": [options[number % 3]], "id": f"b{number}"}
            )
        frames = [await sock.expect("VOTE_ACCEPTED", id=f"b{number}") for number in range(20)]
        seqs = [frame["seq"] for frame in frames]
        assert seqs == sorted(set(seqs))
    assert (await standing(api, guest, poll))["id"] == "b19"


async def test_every_refusal_has_its_status_over_http(api: Api, case: Case, guest: Person) -> None:
    poll, options = case
    (await api.vote(guest, poll["id"], options[:1], id="b")).fresh()
    for fields, code in (
        ({"optionIds": options[:1], "id": "c"}, "ALREADY_VOTED"),
        ({"optionIds": options[1:2], "id": "b"}, "BALLOT_ID_REUSED"),
        ({"optionIds": [], "id": "c"}, "INVALID_CHOICE_COUNT"),
        ({"optionIds": ["x"], "id": "c"}, "INVALID_OPTION"),
    ):
        response = await api.post(f"/polls/{poll['id']}/votes", fields, guest)
        assert (response.status_code, response.json()["code"]) == (STATUS[code], code)
