"""/open and /close in every status, and what the clock does by itself."""

import asyncio
from typing import Any

import pytest

from tools.harness.http import Answer, Api, Person, ok, problem
from tools.harness.shapes import counted, option_ids, public
from tools.harness.wait import SOON, ahead, eventually, now, parse

pytestmark = pytest.mark.anyio


async def test_opening_a_draft_opens_it_now(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True, guests=True)
    before = await api.tally(poll, owner)
    body = await api.open(owner, poll)
    assert set(body) == {"poll", "tally"}
    assert body["poll"]["status"] == "open"
    assert abs((parse(body["poll"]["opensAt"]) - now()).total_seconds()) < 5
    assert body["tally"]["seq"] > before["seq"]
    assert await api.state(poll, owner) == body | {"yourVote": None}


async def test_opening_a_scheduled_poll_opens_it_now(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner, opensAt=ahead(1000), closesAt=ahead(2000), guests=True)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).refused("POLL_NOT_OPEN")
    before = await api.tally(poll)
    body = await api.open(owner, poll)
    assert body["poll"]["status"] == "open"
    assert body["poll"]["closesAt"] == poll["closesAt"]
    assert abs((parse(body["poll"]["opensAt"]) - now()).total_seconds()) < 5
    assert body["tally"]["seq"] > before["seq"]
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()


async def test_opening_a_draft_with_an_opens_at_to_come_opens_it_now(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True, opensAt=ahead(1000))
    body = await api.open(owner, poll)
    assert body["poll"]["status"] == "open"
    assert parse(body["poll"]["opensAt"]) < parse(poll["opensAt"])


async def test_opening_an_open_poll_leaves_it_unchanged(api: Api, owner: Person) -> None:
    for fields in ({}, {"opensAt": "2020-01-01T00:00:00Z"}):
        poll = await api.poll(owner, **fields)
        before = await api.state(poll, owner)
        body = await api.open(owner, poll)
        assert body | {"yourVote": None} == before
        assert await api.state(poll, owner) == before


async def test_opening_a_closed_poll_is_poll_closed(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    await api.close(owner, poll)
    before = await api.state(poll)
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "POLL_CLOSED")
    assert await api.state(poll) == before


async def test_closing_an_open_poll_closes_it_now(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, closesAt=ahead(1000))
    before = await api.tally(poll)
    body = await api.close(owner, poll)
    assert set(body) == {"poll", "tally"}
    assert body["poll"]["status"] == "closed"
    assert abs((parse(body["poll"]["closesAt"]) - now()).total_seconds()) < 5
    assert body["tally"]["final"] is True
    assert body["tally"]["seq"] > before["seq"]
    assert await api.state(poll, owner) == body | {"yourVote": None}


async def test_closing_a_closed_poll_leaves_it_unchanged(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    first = await api.close(owner, poll)
    assert await api.close(owner, poll) == first


@pytest.mark.parametrize("fields", [{"draft": True}, {"opensAt": "2099-01-01T00:00:00Z"}], ids=str)
async def test_closing_what_never_opened_is_poll_not_open(
    api: Api, owner: Person, fields: dict[str, Any]
) -> None:
    poll = await api.poll(owner, **fields)
    before = await api.state(poll, owner)
    problem(await api.post(f"/polls/{poll['id']}/close", None, owner), "POLL_NOT_OPEN")
    assert await api.state(poll, owner) == before


async def test_opening_and_closing_need_no_body_and_take_an_empty_one(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True)
    assert ok(await api.post(f"/polls/{poll['id']}/open", {}, owner))["poll"]["status"] == "open"
    assert ok(await api.post(f"/polls/{poll['id']}/close", {}, owner))["poll"]["status"] == "closed"


async def test_opening_a_draft_whose_closes_at_has_passed_is_poll_closed(
    api: Api, owner: Person, ws: Any
) -> None:
    poll = await api.poll(owner, draft=True, closesAt=ahead(SOON))
    async with ws(owner) as sock:
        await eventually(sock.settle, lambda now: parse(now) > parse(poll["closesAt"]))
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "POLL_CLOSED")
    problem(await api.post(f"/polls/{poll['id']}/close", None, owner), "POLL_NOT_OPEN")


async def test_opening_sends_poll_changed_to_the_room(api: Api, owner: Person, ws: Any) -> None:
    scheduled = await api.poll(owner, opensAt=ahead(1000))
    draft = await api.poll(owner, draft=True)
    async with ws() as watcher, ws(owner) as mine:
        before = (await watcher.join(scheduled))["tally"]
        await mine.join(draft)
        for sock, poll in ((watcher, scheduled), (mine, draft)):
            body = await api.open(owner, poll)
            changed = await sock.expect("POLL_CHANGED", poll={"id": poll["id"]})
            assert (changed["poll"], changed["tally"]) == (public(body["poll"]), body["tally"])
        assert watcher.since(0, "POLL_CHANGED")[0]["tally"]["seq"] > before["seq"]


async def test_closing_sends_poll_changed_with_the_final_tally(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    (await api.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
    async with ws() as sock:
        await sock.join(poll)
        body = await api.close(owner, poll)
        changed = await sock.expect("POLL_CHANGED")
        assert (changed["poll"], changed["tally"]) == (public(body["poll"]), body["tally"])
        assert changed["tally"]["final"] is True


async def test_repeated_openings_and_closings_send_nothing(api: Api, owner: Person, ws: Any) -> None:
    poll = await api.poll(owner)
    async with ws() as sock:
        await sock.join(poll)
        await api.open(owner, poll)
        await api.close(owner, poll)
        await sock.expect("POLL_CHANGED", poll={"status": "closed"})
        await api.close(owner, poll)
        await api.edit(owner, poll, question="A barrier")
        await sock.expect("POLL_CHANGED", poll={"question": "A barrier"})
        assert len(sock.since(0, "POLL_CHANGED")) == 2


async def test_a_scheduled_poll_opens_by_the_clock_and_tells_its_room(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, opensAt=ahead(SOON), guests=True)
    async with ws(guest) as sock:
        state = await sock.join(poll)
        assert state["poll"]["status"] == "scheduled"
        (await sock.vote(poll["id"], option_ids(poll)[:1], id="early")).refused("POLL_NOT_OPEN")
        changed = await sock.expect("POLL_CHANGED")
        assert changed["poll"] == public(poll) | {"status": "open"}
        assert changed["tally"]["seq"] > state["tally"]["seq"]
        assert parse(changed["serverTime"]) >= parse(poll["opensAt"])
        assert (parse(changed["serverTime"]) - parse(poll["opensAt"])).total_seconds() < 1
        vote = (await sock.vote(poll["id"], option_ids(poll)[:1], id="early")).fresh()
        assert parse(vote["castAt"]) >= parse(poll["opensAt"])


async def test_a_poll_closes_by_the_clock_and_tells_its_room(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, closesAt=ahead(SOON), guests=True, resultsVisibility="after_close")
    async with ws(guest) as sock:
        await sock.join(poll)
        vote = (await sock.vote(poll["id"], option_ids(poll)[:1], id="timely")).fresh()
        changed = await sock.expect("POLL_CHANGED")
        assert changed["poll"] == public(poll) | {"status": "closed"}
        assert (changed["tally"]["final"], changed["tally"]["voters"]) == (True, 1)
        assert counted(changed["tally"]) == {option_ids(poll)[0]: 1}
        assert changed["tally"]["seq"] > vote["seq"]
        assert 0 <= (parse(changed["serverTime"]) - parse(poll["closesAt"])).total_seconds() < 1
        (await sock.vote(poll["id"], option_ids(poll)[:1], id="late")).refused("POLL_CLOSED")
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "POLL_CLOSED")


async def test_any_read_at_or_after_closes_at_shows_closed_and_final(
    api: Api, owner: Person, ws: Any
) -> None:
    at = ahead(SOON)
    polls = [await api.poll(owner, closesAt=at) for _ in range(5)]
    async with ws() as sock:
        await eventually(sock.settle, lambda now: parse(now) >= parse(at))
        joined = await sock.join(polls[0])
    by_id = await api.state(polls[1])
    by_code = ok(await api.get(f"/join/{polls[2]['code']}"))
    results = ok(await api.get(f"/polls/{polls[3]['id']}/results"))
    listed = ok(await api.get("/polls?limit=100", owner))["items"]
    assert results["tally"]["final"] is True
    for seen in (joined, by_id, by_code):
        assert (seen["poll"]["status"], seen["tally"]["final"]) == ("closed", True)
    assert [item["status"] for item in listed if item["id"] == polls[4]["id"]] in (["closed"], [])


async def test_a_list_shows_the_status_by_the_clock(api: Api, ws: Any) -> None:
    user = await api.user()
    await api.poll(user, closesAt=ahead(SOON))
    opening = await api.poll(user, opensAt=ahead(SOON))
    async with ws() as sock:
        await eventually(sock.settle, lambda now: parse(now) >= parse(opening["opensAt"]))
    items = ok(await api.get("/polls", user))["items"]
    assert [item["status"] for item in items] == ["open", "closed"]


async def test_no_ballot_is_cast_outside_the_time_and_the_final_tally_holds_all_accepted(
    api: Api, owner: Person
) -> None:
    voters = await api.guests(40)
    poll = await api.poll(owner, guests=True, closesAt=ahead(SOON))
    option = option_ids(poll)[0]
    taken: list[dict[str, Any]] = []
    late: list[Answer] = []

    async def until_closed(voter: Person) -> None:
        while True:
            answer = await api.vote(voter, poll["id"], [option])
            if answer.code is None:
                taken.append(answer.body)
            elif answer.code == "POLL_CLOSED":
                late.append(answer)
                return
            else:
                answer.refused("ALREADY_VOTED")
            await asyncio.sleep(0.01)

    async def one_after_another() -> None:
        for voter in voters[:20]:
            await asyncio.sleep(SOON / 15)
            asking.append(asyncio.create_task(until_closed(voter)))

    asking: list[asyncio.Task[None]] = []
    await one_after_another()
    await asyncio.gather(*asking)
    assert late
    assert taken
    tally = await api.tally(poll)
    assert (tally["final"], tally["voters"], tally["counts"][option]) == (True, len(taken), len(taken))
    assert all(parse(vote["castAt"]) < parse(poll["closesAt"]) for vote in taken)
    assert max(vote["seq"] for vote in taken) < tally["seq"]
    for voter in voters[20:]:
        (await api.vote(voter, poll["id"], [option])).refused("POLL_CLOSED")
    assert await api.tally(poll) == tally


async def test_votes_racing_with_a_close_are_in_the_final_tally_or_refused(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True)
    voters = await api.guests(40)
    option = option_ids(poll)[0]

    async def vote(index: int, voter: Person) -> Answer:
        await asyncio.sleep(index * 0.002)
        return await api.vote(voter, poll["id"], [option])

    async def close() -> dict[str, Any]:
        await asyncio.sleep(0.04)
        return await api.close(owner, poll)

    answers, closed = await asyncio.gather(
        asyncio.gather(*(vote(index, voter) for index, voter in enumerate(voters))), close()
    )
    taken = [answer.body for answer in answers if answer.code is None]
    assert {answer.code for answer in answers} <= {None, "POLL_CLOSED"}
    assert closed["tally"]["voters"] == len(taken)
    assert await api.tally(poll) == closed["tally"]


async def test_closing_at_once_is_one_closing(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    bodies = await asyncio.gather(*(api.close(owner, poll) for _ in range(6)))
    assert all(body == bodies[0] for body in bodies)


async def test_opening_at_once_is_one_opening(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True)
    bodies = await asyncio.gather(*(api.open(owner, poll) for _ in range(6)))
    assert all(body == bodies[0] for body in bodies)
