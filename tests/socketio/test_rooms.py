"""The real client in the rooms of raw sockets: the same payloads, the same rights, on every transport."""

import asyncio
import json

import pytest

from tests.conftest import Open
from tests.socketio.conftest import Connect
from tools.harness.decks import drafts, make, move
from tools.harness.http import Api, Person, ok
from tools.harness.shapes import option_ids

Transports = tuple[str, ...]


async def test_states_updates_and_answers_are_those_of_raw_sockets(
    sio: Connect, ws: Open, api: Api, owner: Person, transports: Transports
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    one, other = await api.guests(2)
    tea, coffee = option_ids(poll)
    async with sio(one, transports=transports) as client, ws(other) as raw:
        state = await client.join(poll)
        assert (await client.event("poll_state")) == state
        shown = await raw.join(poll)
        same = ("poll", "tally", "yourVote")
        assert {name: state[name] for name in same} == {name: shown[name] for name in same}
        await raw.viewers(poll, 2)
        await client.event("poll_update", viewers=2)
        first = await client.vote(poll["id"], [tea], id="a")
        assert (first.fresh()["id"], first.fresh()["optionIds"]) == ("a", [tea])
        (await client.vote(poll["id"], [tea], id="a")).repeats(first)
        (await api.vote(one, poll["id"], [tea], id="a")).repeats(first)
        (await raw.vote(poll["id"], [coffee], id="b")).fresh()
        update = await client.shows(poll, voters=2)
        assert update["tally"]["counts"] == {tea: 1, coffee: 1}
        assert (await raw.shows(poll, voters=2))["tally"] == update["tally"]
        mark = client.mark()  # one vote was shown before, where a tick came between the two
        (await client.retract(poll["id"], "c")).fresh()
        assert (await client.shows(poll, mark, voters=1))["tally"]["counts"] == {tea: 0, coffee: 1}
        assert await client.ask("leave_poll", {"pollId": poll["id"]}) == {
            "type": "LEFT_POLL",
            "pollId": poll["id"],
        }
        await raw.viewers(poll, 1)


async def test_without_a_callback_answers_come_as_events(sio: Connect, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    tea = option_ids(poll)[0]
    async with sio(await api.guest()) as client:
        await client.tell("join_poll", {"code": poll["code"].lower()})
        assert (await client.event("poll_state"))["poll"]["id"] == poll["id"]
        await client.tell("vote", {"pollId": poll["id"], "optionId": tea, "id": "a"})
        assert (await client.event("vote_accepted"))["optionIds"] == [tea]
        await client.tell("retract_vote", {"pollId": poll["id"], "id": "b"})
        assert (await client.event("vote_retracted"))["id"] == "b"
        await client.tell("vote", {"pollId": poll["id"], "optionId": tea, "id": "b"})
        error = await client.event("error")
        assert (error["code"], error["id"], error["pollId"]) == ("BALLOT_ID_REUSED", "b", poll["id"])
        await client.tell("leave_poll", {"pollId": poll["id"]})
        await client.event("left_poll")


async def test_changes_the_close_and_the_deletion_come_as_events(
    sio: Connect, api: Api, owner: Person, transports: Transports
) -> None:
    poll = await api.poll(owner, guests=True)
    async with sio(transports=transports) as client:
        await client.join(poll)
        await api.edit(owner, poll, question="Tea, or tea?")
        await client.event("poll_changed", poll={"question": "Tea, or tea?"})
        await api.post(f"/polls/{poll['id']}/close", None, owner)
        closed = await client.event("poll_changed", poll={"status": "closed"})
        assert closed["tally"]["final"] is True
        await api.delete(f"/polls/{poll['id']}", owner)
        assert (await client.event("poll_deleted"))["pollId"] == poll["id"]
        await client.refused("NOT_FOUND", "join_poll", {"pollId": poll["id"]})


@pytest.mark.parametrize("visibility", ["after_vote", "after_close", "owner"])
async def test_hidden_counts_never_reach_the_wire(
    sio: Connect, api: Api, owner: Person, transports: Transports, visibility: str
) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility=visibility)
    options = option_ids(poll)
    watcher, voter, other = await api.guests(3)
    async with (
        sio(watcher, transports=transports) as client,
        sio(voter, transports=transports) as voting,
        sio(owner, transports=transports) as owning,
    ):
        for each in (client, voting, owning):
            await each.join(poll)
        (await voting.vote(poll["id"], options[:1])).fresh()
        (await api.vote(other, poll["id"], options[1:])).fresh()
        for each in (client, voting):
            await each.shows(poll, voters=2)
        await owning.shows(poll, voters=2, counts={options[0]: 1, options[1]: 1})
        if visibility == "after_vote":
            await voting.shows(poll, voters=2, counts={options[0]: 1, options[1]: 1})
        else:
            assert not any('"counts"' in text for text in voting.wire)
        assert any('"voters":2' in text for text in client.wire)
        assert not any('"counts"' in text for text in client.wire)
        await api.post(f"/polls/{poll['id']}/close", None, owner)
        await client.event("poll_changed", poll={"status": "closed"})
        assert any('"counts"' in text for text in client.wire) == (visibility != "owner")


async def test_after_a_renewal_the_state_comes_anew(sio: Connect, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility="after_vote")
    voter, other = await api.guests(2)
    (await api.vote(voter, poll["id"], option_ids(poll)[:1], id="a")).fresh()
    async with sio() as client:
        assert "counts" not in (await client.join(poll))["tally"]
        mark = client.mark()
        answer = await client.ask("auth", {"token": voter.token})
        assert (answer["type"], answer["user"]) == ("AUTHENTICATED", voter.user)
        state = await client.event("poll_state", mark)
        assert state["yourVote"]["id"] == "a" and "counts" in state["tally"]
        await client.refused("FORBIDDEN", "auth", {"token": other.token, "id": "x"})
        assert (await client.ask("auth", {"token": voter.token}))["type"] == "AUTHENTICATED"


async def test_a_client_joins_at_most_100_polls(sio: Connect, api: Api, owner: Person) -> None:
    polls = await asyncio.gather(*(api.poll(owner) for _ in range(101)))
    async with sio() as client:
        for poll in polls[:100]:
            await client.join(poll)
        await client.refused("RATE_LIMITED", "join_poll", {"pollId": polls[100]["id"]})
        await client.ask("leave_poll", {"pollId": polls[0]["id"]})
        await client.join(polls[100])


async def test_many_ballots_at_once_are_taken_in_order(sio: Connect, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    tea, coffee = option_ids(poll)
    async with sio(await api.guest()) as client:
        for number in range(40):
            body = {"pollId": poll["id"], "optionId": (tea, coffee)[number % 2], "id": f"n{number}"}
            await client.do("emit", event="vote", args=[body], ack=1000 + number)
        answers = [(await client.hears("ack", ack=1000 + number))["answer"] for number in range(40)]
        assert json.dumps([answer["id"] for answer in answers]) == json.dumps([f"n{n}" for n in range(40)])
        seqs = [answer["seq"] for answer in answers]
        assert seqs == sorted(set(seqs))
        assert (await client.join(poll))["yourVote"]["id"] == "n39"


async def test_a_client_follows_a_deck(
    sio: Connect, ws: Open, api: Api, owner: Person, transports: Transports
) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with sio(await api.guest(), transports=transports) as client, ws() as raw:
        state = await client.ask("join_deck", {"code": deck["code"]})
        assert (await client.event("deck_state")) == state
        assert (await client.event("poll_state"))["poll"]["id"] == polls[0]["id"]
        await raw.join_deck(deck)
        mark = client.mark()
        await move(api, owner, deck, polls[1])
        shown = await client.event("deck_changed", mark)
        assert shown == await raw.expect("DECK_CHANGED") | {"serverTime": shown["serverTime"]}
        (await client.vote(polls[1]["id"], option_ids(polls[1])[:1], id="a")).fresh()
        await client.shows(polls[1], voters=1)
        await move(api, owner, deck, None)
        await client.event("deck_changed", mark, poll=None)
        await client.refused("NOT_FOUND", "join_deck", {"deckId": polls[0]["id"]})
        ok(await api.delete(f"/decks/{deck['id']}", owner), 204)
        await client.event("deck_deleted", mark, deckId=deck["id"])
        assert (await client.ask("leave_deck", {"deckId": deck["id"]}))["type"] == "LEFT_DECK"
