"""A vote that takes the place of another, over HTTP and over WebSocket."""

import pytest

from tests.contract.conftest import Ballots, Case, standing
from tools.harness.http import Answer, Api, Person
from tools.harness.shapes import counted

pytestmark = pytest.mark.anyio


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
