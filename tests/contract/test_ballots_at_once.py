"""Ballots and copies of ballots that race each other."""

import asyncio
from typing import Any

import pytest

from tests.contract.conftest import Ballots, Case, standing
from tools.harness.http import Api, Person
from tools.harness.shapes import counted

pytestmark = pytest.mark.anyio


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
