"""The rules of ballots that every transport shares: each over HTTP and over WebSocket."""

from typing import Any

import pytest

from tests.contract.conftest import Ballots, Case, standing
from tools.harness.http import Answer, Api, Person, names_field
from tools.harness.shapes import BALLOT_ID, STATUS, TIME, counted, option_ids
from tools.harness.wait import ahead

pytestmark = pytest.mark.anyio


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
