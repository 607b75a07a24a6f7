"""Server-sent events: what a room gets, for clients without WebSockets."""

from typing import Any

import pytest

from tools.harness.decks import drafts, make, move, on_sockets
from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids, public
from tools.harness.sse import WAIT_SECONDS, stream
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio


async def test_a_stream_begins_with_the_state_and_goes_on_like_the_room(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await api.poll(owner, guests=True)
    async with stream(api, poll) as reader:
        state = await reader.next()
        assert state["event"] == "POLL_STATE"
        assert state["data"]["poll"] == public(poll) and state["data"]["yourVote"] is None
        assert reader.retry is not None and 1000 <= reader.retry <= 5000
        (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
        while (update := await reader.next("POLL_UPDATE"))["data"]["tally"]["voters"] != 1:
            pass
        body = await api.close(owner, poll)
        changed = await reader.next("POLL_CHANGED")
        assert changed["data"]["poll"] == public(body["poll"]) and changed["data"]["tally"] == body["tally"]
        assert update["data"]["viewers"] == 1
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        assert (await reader.next("POLL_DELETED"))["data"] == {"type": "POLL_DELETED", "pollId": poll["id"]}
        await reader.ended()
    problem(await api.get(f"/polls/{poll['id']}/stream"), "NOT_FOUND")


async def test_what_a_reader_sees_follows_its_rights(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility="after_vote")
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
    async with (
        stream(api, poll) as stranger,
        stream(api, poll, guest) as voter,
        stream(api, poll, owner) as mine,
    ):
        assert "counts" not in (await stranger.next())["data"]["tally"]
        first = (await voter.next())["data"]
        assert first["tally"]["counts"] and first["yourVote"]["optionIds"] == option_ids(poll)[:1]
        assert (await mine.next())["data"]["tally"]["counts"]
        ok(await api.patch(f"/polls/{poll['id']}", {"resultsVisibility": "owner"}, owner))
        assert "counts" not in (await stranger.next("POLL_CHANGED"))["data"]["tally"]
        assert "counts" not in (await voter.next("POLL_CHANGED"))["data"]["tally"]
        changed = (await mine.next("POLL_CHANGED"))["data"]
        assert changed["tally"]["counts"] and "correctOptionIds" not in changed["poll"]


async def test_a_reader_who_votes_elsewhere_sees_counts_after_the_next_change(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility="after_vote")
    async with stream(api, poll, guest) as reader:
        assert "counts" not in (await reader.next())["data"]["tally"]
        (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
        ok(await api.patch(f"/polls/{poll['id']}", {"question": "New?"}, owner))
        assert (await reader.next("POLL_CHANGED"))["data"]["tally"]["counts"]


async def test_readers_count_as_viewers(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as sock:
        assert (await sock.join(poll))["viewers"] == 1
        async with stream(api, poll) as reader:
            await reader.next()
            await sock.expect("POLL_UPDATE", viewers=2)
        await sock.expect("POLL_UPDATE", viewers=1)


async def test_a_stream_ends_with_its_session(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    person = await api.guest()
    async with stream(api, poll, person) as reader, stream(api, poll) as nobody:
        await reader.next()
        await nobody.next()
        ok(await api.post("/auth/logout", None, person), 204)
        await reader.ended()
        await api.close(owner, poll)
        await nobody.next("POLL_CHANGED")


async def test_refused_streams(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner, draft=True)
    path = f"/polls/{poll['id']}/stream"
    problem(await api.get("/polls/unknown/stream"), "NOT_FOUND")
    problem(await api.get(path, guest), "NOT_FOUND")
    problem(await api.get(path, "garbage"), "UNAUTHENTICATED")
    problem(await api.post(path, {}, owner), "METHOD_NOT_ALLOWED")
    problem(await api.get(f"{path}?token={owner.token}"), "NOT_FOUND")
    async with stream(api, poll, owner) as reader:
        assert (await reader.next())["data"]["poll"]["status"] == "draft"


async def test_a_reader_that_leaves_is_forgotten(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    async with stream(api, poll) as watching:
        await watching.next()
        for _ in range(3):
            async with stream(api, poll) as reader:
                await reader.next()

        async def viewers() -> int:
            return int((await watching.next("POLL_UPDATE"))["data"]["viewers"])

        await eventually(viewers, lambda n: n == 1, WAIT_SECONDS)


async def test_a_head_request_does_not_wait_for_events(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    answer = await api.http.head(f"{api.server.url()}/polls/{poll['id']}/stream")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_follows_a_deck(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner, 2, resultsVisibility="after_vote")
    deck = await make(api, owner, polls)
    first = await move(api, owner, deck, polls[0])
    (await api.vote(guest, polls[0]["id"], option_ids(polls[0])[:1])).fresh()
    async with stream(api, deck, kind="decks") as reader, stream(api, deck, guest, kind="decks") as voter:
        for one in (reader, voter):
            state = (await one.next("DECK_STATE"))["data"]
            assert state["deck"] == on_sockets(first["deck"])
            assert (await one.next())["data"]["poll"]["id"] == polls[0]["id"]
        moved = await move(api, owner, deck, polls[1], close=False)
        for one in (reader, voter):
            changed = (await one.next("DECK_CHANGED"))["data"]
            assert (changed["deck"], changed["poll"]) == (on_sockets(moved["deck"]), public(moved["poll"]))
            assert "counts" not in changed["tally"] and changed["viewers"] == 2
        await move(api, owner, deck, polls[0], close=False)
        assert "counts" not in (await reader.next("DECK_CHANGED"))["data"]["tally"]
        assert (await voter.next("DECK_CHANGED"))["data"]["tally"]["counts"]
        ok(await api.delete(f"/polls/{polls[0]['id']}", owner), 204)
        await reader.next("POLL_DELETED")
        assert (await reader.next("DECK_CHANGED"))["data"]["poll"] is None
        ok(await api.delete(f"/decks/{deck['id']}", owner), 204)
        assert (await reader.next("DECK_DELETED"))["data"]["deckId"] == deck["id"]
        await reader.ended()
        await voter.ended()
    problem(await api.get(f"/decks/{deck['id']}/stream"), "NOT_FOUND")
    problem(await api.get("/decks/unknown/stream"), "NOT_FOUND")
