"""Taking a vote back, over HTTP and over WebSocket."""

import pytest

from tests.contract.conftest import Ballots, Case, standing
from tools.harness.http import Api, Person
from tools.harness.shapes import BALLOT_ID, counted

pytestmark = pytest.mark.anyio


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
