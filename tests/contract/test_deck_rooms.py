"""A socket in a deck's room follows the deck from poll to poll."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tools.harness.decks import drafts, make, move, on_sockets
from tools.harness.http import Api, Person, ok
from tools.harness.shapes import counted, option_ids, public
from tools.harness.wait import ahead

pytestmark = pytest.mark.anyio


async def changed(sock: Any, poll: Any, **match: Any) -> Any:
    """The DECK_CHANGED that shows this poll, or none."""
    shown = (lambda found: found is None) if poll is None else {"id": poll["id"]}
    return await sock.expect("DECK_CHANGED", poll=shown, **match)


async def test_joining_by_id_or_code_is_answered_with_the_deck_and_its_poll(
    api: Api, owner: Person, ws: Any
) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    async with ws() as sock:
        assert "deck" in (await sock.until(lambda: sock.frames[0], "WELCOME"))["features"]
        state = await sock.join_deck(deck)
        assert (state["deck"], state["viewers"]) == (on_sockets(deck), 1)
        await sock.settle()
        assert sock.since(0, "POLL_STATE") == []
    moved = await move(api, owner, deck, polls[1])
    for field in ({"deckId": deck["id"]}, {"code": deck["code"]}, {"code": deck["code"].lower()}):
        async with ws() as sock:
            await sock.send({"type": "JOIN_DECK"} | field)
            assert (await sock.expect("DECK_STATE"))["deck"] == on_sockets(moved["deck"])
            poll = await sock.expect("POLL_STATE")
            assert (poll["poll"], poll["tally"]) == (public(moved["poll"]), moved["tally"])
            assert [frame["type"] for frame in sock.frames[1:3]] == ["DECK_STATE", "POLL_STATE"]
            mark = sock.mark()
            await sock.send({"type": "JOIN_DECK"} | field)
            await sock.expect("DECK_STATE")
            await sock.until(
                lambda sock=sock, mark=mark: sock.since(mark, "POLL_STATE") or None, "POLL_STATE"
            )  # type: ignore[misc]


async def test_what_cannot_be_joined(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    deck = await make(api, owner, [])
    async with ws() as sock:
        for message, code in (
            ({"type": "JOIN_DECK"}, "VALIDATION_FAILED"),
            ({"type": "JOIN_DECK", "deckId": deck["id"], "code": deck["code"]}, "VALIDATION_FAILED"),
            ({"type": "JOIN_DECK", "deckId": None}, "VALIDATION_FAILED"),
            ({"type": "JOIN_DECK", "code": 5}, "VALIDATION_FAILED"),
            ({"type": "JOIN_DECK", "deckId": deck["id"], "extra": 1}, "VALIDATION_FAILED"),
            ({"type": "LEAVE_DECK"}, "VALIDATION_FAILED"),
            ({"type": "JOIN_DECK", "deckId": "unknown"}, "NOT_FOUND"),
            ({"type": "JOIN_DECK", "deckId": "a b"}, "NOT_FOUND"),
            ({"type": "JOIN_DECK", "code": "x" * 30}, "NOT_FOUND"),
            ({"type": "JOIN_DECK", "deckId": poll["id"]}, "NOT_FOUND"),
            ({"type": "JOIN_DECK", "code": poll["code"]}, "NOT_FOUND"),
            ({"type": "JOIN_POLL", "code": deck["code"]}, "NOT_FOUND"),
            ({"type": "JOIN_POLL", "pollId": deck["id"]}, "NOT_FOUND"),
        ):
            await sock.send(message | {"id": "j"})
            error = await sock.expect("ERROR")
            assert (error["code"], error["id"]) == (code, "j"), message
        await sock.send({"type": "LEAVE_DECK", "deckId": "unknown"})
        assert (await sock.expect("LEFT_DECK"))["deckId"] == "unknown"


async def test_a_move_takes_every_socket_to_the_new_poll(
    api: Api, owner: Person, guest: Person, ballots: Any, ws: Any
) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as one, ws() as two:
        for sock in (one, two):
            await sock.join_deck(deck)
        marks = one.mark(), two.mark()
        moved = await move(api, owner, deck, polls[1])
        for sock, mark in zip((one, two), marks, strict=True):
            frame = await changed(sock, polls[1])
            assert frame["deck"] == on_sockets(moved["deck"])
            assert (frame["poll"], frame["tally"]) == (public(moved["poll"]), moved["tally"])
            assert frame["viewers"] == 2
            closed = sock.since(mark, "POLL_CHANGED")
            assert all(f["poll"]["id"] == polls[0]["id"] and f["tally"]["final"] for f in closed)
        (await ballots.vote(guest, polls[1]["id"], option_ids(polls[1])[:1])).fresh()
        for sock in (one, two):
            await sock.shows(polls[1], voters=1)
        nothing = await move(api, owner, deck, None)
        for sock in (one, two):
            assert (await changed(sock, None))["deck"] == on_sockets(nothing["deck"])
        (await ballots.vote(guest, polls[1]["id"], option_ids(polls[1])[:1])).refused("POLL_CLOSED")


async def test_after_the_move_nothing_of_the_old_poll_comes(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as sock, ws() as stays, ws(guest) as voting:
        await sock.join_deck(deck)
        await stays.join(polls[0])
        await move(api, owner, deck, polls[1], close=False)
        await changed(sock, polls[1])
        mark = sock.mark()
        (await voting.vote(polls[0]["id"], option_ids(polls[0])[:1])).fresh()
        await stays.shows(polls[0], voters=1)
        await sock.settle()
        assert [frame for frame in sock.since(mark) if frame.get("pollId") == polls[0]["id"]] == []


async def test_other_changes_of_the_deck_are_told(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls[:2])
    await move(api, owner, deck, polls[0])
    async with ws() as sock:
        await sock.join_deck(deck)
        ok(await api.patch(f"/decks/{deck['id']}", {"title": "New"}, owner))
        assert (await changed(sock, polls[0], deck={"title": "New"}))["tally"]["voters"] == 0
        order = [polls[2]["id"], polls[1]["id"], polls[0]["id"]]
        ok(await api.patch(f"/decks/{deck['id']}", {"pollIds": order}, owner))
        await changed(sock, polls[0], deck={"position": 3, "count": 3})
        mark = sock.mark()
        ended = ok(await api.post(f"/decks/{deck['id']}/end", None, owner))["deck"]
        frame = await changed(sock, polls[0], deck=on_sockets(ended))
        assert frame["poll"]["status"] == "closed" and frame["deck"]["endedAt"]
        kinds = [f["type"] for f in sock.since(mark)]
        assert kinds.index("POLL_CHANGED") < kinds.index("DECK_CHANGED")


async def test_counts_follow_the_rights_in_the_new_poll(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = await drafts(api, owner, 2, resultsVisibility="after_vote")
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as stranger, ws(guest) as voter, ws(owner) as mine:
        for sock in (stranger, voter, mine):
            await sock.join_deck(deck)
        (await voter.vote(polls[0]["id"], option_ids(polls[0])[:1])).fresh()
        await voter.shows(polls[0], voters=1, counts=bool)
        await move(api, owner, deck, polls[1], close=False)
        assert "counts" not in (await changed(voter, polls[1]))["tally"]
        assert counted((await changed(mine, polls[1]))["tally"]) == {}
        await move(api, owner, deck, polls[0], close=False)
        assert counted((await changed(voter, polls[0]))["tally"]) == {option_ids(polls[0])[0]: 1}
        assert "counts" not in (await changed(stranger, polls[0]))["tally"]


async def test_a_voter_joins_the_poll_to_learn_of_an_earlier_vote(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    async with ws(guest) as sock:
        await sock.join_deck(deck)
        await move(api, owner, deck, polls[0])
        assert "yourVote" not in await changed(sock, polls[0])
        assert (await sock.join(polls[0]))["yourVote"] is None
        assert (await sock.join(polls[0]))["viewers"] == 1
        vote = (await sock.vote(polls[0]["id"], option_ids(polls[0])[:1])).fresh()
        assert (await sock.join(polls[0]))["yourVote"]["id"] == vote["id"]
        mark = sock.mark()
        await move(api, owner, deck, polls[1])
        await changed(sock, polls[1])
        # By JOIN_POLL it is still in the room of the first.
        assert any(f["poll"]["id"] == polls[0]["id"] for f in sock.since(mark, "POLL_CHANGED"))


async def test_a_socket_in_both_rooms_gets_everything_once(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = await drafts(api, owner, 1)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as sock, ws(guest) as voting:
        await sock.join(polls[0])
        await sock.join_deck(deck)
        await voting.join(polls[0])
        await sock.viewers(polls[0], 2)
        mark = sock.mark()
        await api.edit(owner, polls[0], description="Once")
        await sock.expect("POLL_CHANGED", poll={"description": "Once"})
        await sock.leave(polls[0])
        (await voting.vote(polls[0]["id"], option_ids(polls[0])[:1])).fresh()
        await sock.shows(polls[0], voters=1)
        assert len(sock.since(mark, "POLL_CHANGED")) == 1
        assert len([f for f in sock.since(mark, "POLL_UPDATE") if f["tally"]["voters"] == 1]) == 1
        await sock.send({"type": "LEAVE_DECK", "deckId": deck["id"]})
        await sock.expect("LEFT_DECK")
        await voting.viewers(polls[0], 1)


async def test_viewers_of_a_deck_without_a_poll(api: Api, owner: Person, ws: Any) -> None:
    deck = await make(api, owner, [])
    async with ws() as first:
        await first.join_deck(deck)
        async with AsyncExitStack() as stack:
            others = [await stack.enter_async_context(ws()) for _ in range(3)]
            for other in others:
                await other.join_deck(deck)
            await first.expect("DECK_UPDATE", deckId=deck["id"], viewers=4)
            await others[0].send({"type": "LEAVE_DECK", "deckId": deck["id"]})
            await first.expect("DECK_UPDATE", viewers=3)
            others[1].abort()
            await first.expect("DECK_UPDATE", viewers=2)
        await first.expect("DECK_UPDATE", viewers=1)


async def test_a_deck_and_its_current_poll_take_one_room(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    others = [await api.poll(owner) for _ in range(99)]
    async with ws() as sock:
        await sock.join_deck(deck)
        for poll in others:
            await sock.join(poll)
        await sock.join(polls[0])
        another, second = await api.poll(owner), await make(api, owner, [])
        for message in (
            {"type": "JOIN_POLL", "pollId": another["id"]},
            {"type": "JOIN_DECK", "deckId": second["id"]},
        ):
            await sock.send(message)
            assert (await sock.expect("ERROR"))["code"] == "RATE_LIMITED"
        await sock.leave(others[0])
        await sock.join(another)


async def test_authenticating_answers_the_deck_and_its_poll_anew(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    polls = await drafts(api, owner, 1, resultsVisibility="owner")
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as sock:
        await sock.join_deck(deck)
        assert "counts" not in (await sock.expect("POLL_STATE"))["tally"]
        mark = sock.mark()
        await sock.auth(owner)
        await sock.expect("DECK_STATE")
        assert "counts" in (await sock.expect("POLL_STATE"))["tally"]
        assert [f["type"] for f in sock.since(mark)][:3] == ["AUTHENTICATED", "DECK_STATE", "POLL_STATE"]
        await api.edit(owner, polls[0], description="New")
        assert "counts" in (await sock.expect("POLL_CHANGED"))["tally"]


async def test_deleting_the_deck_ends_its_room(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner, 1)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as sock, ws() as staying:
        await sock.join_deck(deck)
        await staying.join(polls[0])
        await staying.viewers(polls[0], 2)
        ok(await api.delete(f"/decks/{deck['id']}", owner), 204)
        assert await sock.expect("DECK_DELETED") == {"type": "DECK_DELETED", "deckId": deck["id"]}
        await staying.viewers(polls[0], 1)
        mark = sock.mark()
        await api.close(owner, polls[0])
        await staying.expect("POLL_CHANGED")
        await sock.settle()
        assert [f["type"] for f in sock.since(mark)] == ["PONG"]
        await sock.send({"type": "JOIN_DECK", "deckId": deck["id"]})
        assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"


async def test_deleting_the_current_poll_shows_nothing(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    async with ws() as one, ws() as two:
        for sock in (one, two):
            await sock.join_deck(deck)
        ok(await api.delete(f"/polls/{polls[0]['id']}", owner), 204)
        for sock in (one, two):
            await changed(sock, None, deck={"count": 1, "position": None})
            kinds = [f["type"] for f in sock.frames]
            assert kinds.index("POLL_DELETED") < kinds.index("DECK_CHANGED")
        await move(api, owner, deck, polls[1])
        for sock in (one, two):
            await changed(sock, polls[1])


async def test_a_scheduled_poll_is_shown_and_opens_for_the_room(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner, opensAt=ahead(3600))
    deck = await make(api, owner, [poll])
    async with ws() as sock:
        await sock.join_deck(deck)
        await move(api, owner, deck, poll, open=False)
        assert (await changed(sock, poll))["poll"]["status"] == "scheduled"
        await move(api, owner, deck, poll)
        await sock.expect("POLL_CHANGED", poll={"id": poll["id"], "status": "open"})


async def test_who_joins_during_moves_gets_the_right_question(api: Api, owner: Person, ws: Any) -> None:
    polls = await drafts(api, owner, 12)
    deck = await make(api, owner, polls)

    async def join_after(version: int) -> None:
        async with ws() as sock:
            state = (await sock.join_deck(deck))["deck"]
            assert state["version"] >= version
            if state["currentPollId"] is not None:
                await sock.expect("POLL_STATE", poll={"id": state["currentPollId"]})
            await sock.until(
                lambda: next(
                    (f for f in sock.frames if f.get("deck", {}).get("currentPollId") == polls[-1]["id"]),
                    None,
                ),
                "the last poll",
            )

    async with asyncio.TaskGroup() as group:
        version = deck["version"]
        for poll in polls:
            for _ in range(2):
                group.create_task(join_after(version))
            version = (await move(api, owner, deck, poll))["deck"]["version"]
