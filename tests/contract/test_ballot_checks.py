"""What is checked of a ballot and in which order, over HTTP and over WebSocket."""

from typing import Any

import pytest

from tests.contract.conftest import Ballots, Case
from tools.harness.http import Api, Person, names_field
from tools.harness.shapes import option_ids
from tools.harness.wait import ahead

pytestmark = pytest.mark.anyio


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
