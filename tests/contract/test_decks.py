"""Decks over HTTP: several polls under one code, and who may move them."""

import asyncio
from typing import Any

import pytest

from tools.harness.decks import drafts, make, move
from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import TIME, check_deck, option_ids
from tools.harness.wait import ahead, eventually

pytestmark = pytest.mark.anyio


async def test_a_deck_has_its_polls_in_order(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    assert [poll["id"] for poll in deck["polls"]] == [poll["id"] for poll in polls]
    assert [poll["status"] for poll in deck["polls"]] == ["draft"] * 3
    assert (deck["title"], deck["count"], deck["position"], deck["currentPollId"], deck["endedAt"]) == (
        "Quiz", 3, None, None, None,
    )  # fmt: skip
    assert ok(await api.get(f"/decks/{deck['id']}", owner))["deck"] == deck
    assert (await api.state(polls[0], owner))["poll"]["deckId"] == deck["id"]


async def test_others_see_only_polls_that_are_or_were_current(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    for who in (None, guest):
        seen = check_deck(ok(await api.get(f"/decks/{deck['id']}", who))["deck"])
        assert seen["polls"] == [] and seen["count"] == 3
    await move(api, owner, deck, polls[1])
    await move(api, owner, deck, polls[0])
    seen = ok(await api.get(f"/decks/{deck['id']}"))["deck"]
    assert [(poll["id"], poll["status"]) for poll in seen["polls"]] == [
        (polls[0]["id"], "open"),
        (polls[1]["id"], "closed"),
    ]


async def test_what_makes_no_deck(api: Api, owner: Person, guest: Person) -> None:
    problem(await api.post("/decks", {"title": "Quiz"}), "UNAUTHENTICATED")
    problem(await api.post("/decks", {"title": "Quiz"}, guest), "FORBIDDEN")
    for body, field in (
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "Quiz", "pollIds": ["a", "a"]}, "pollIds"),
        ({"title": "Quiz", "pollIds": [str(n) for n in range(201)]}, "pollIds"),
        ({"title": "Quiz", "other": 1}, "other"),
    ):
        problem(await api.post("/decks", body, owner), "VALIDATION_FAILED", field)
    problem(await api.post("/decks", {"title": "Quiz", "pollIds": ["unknown"]}, owner), "NOT_FOUND")
    foreign = await api.poll(await api.user())
    problem(await api.post("/decks", {"title": "Quiz", "pollIds": [foreign["id"]]}, owner), "NOT_FOUND")
    polls = await drafts(api, owner, 1)
    await make(api, owner, polls)
    problem(await api.post("/decks", {"title": "Quiz", "pollIds": [polls[0]["id"]]}, owner), "POLL_IN_DECK")


async def test_a_key_makes_one_deck(api: Api) -> None:
    owner = await api.user()
    first = ok(await api.post("/decks", {"title": "a"}, owner, key="one"), 201)["deck"]
    assert ok(await api.post("/decks", {"title": "b"}, owner, key="one"))["deck"] == first
    poll = ok(
        await api.post("/polls", {"question": "q", "options": ["a", "b"]}, owner, key="one"), 201
    )  # its own namespace
    assert poll["poll"]["id"] != first["id"]


async def test_own_decks_are_listed_newest_first(api: Api) -> None:
    someone = await api.user()
    made = [await make(api, someone, [], title=str(n)) for n in range(3)]
    first = ok(await api.get("/decks?limit=2", someone))
    assert first["items"] == [made[2], made[1]]
    second = ok(await api.get(f"/decks?limit=2&cursor={first['nextCursor']}", someone))
    assert second == {"items": [made[0]], "nextCursor": None}


async def test_editing_a_deck(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls[:2])
    path, ids = f"/decks/{deck['id']}", [poll["id"] for poll in polls]
    edited = ok(await api.patch(path, {"title": "New", "pollIds": ids[::-1]}, owner))["deck"]
    assert edited["title"] == "New" and [poll["id"] for poll in edited["polls"]] == ids[::-1]
    assert edited["version"] > deck["version"]
    assert ok(await api.patch(path, {"title": "New", "pollIds": ids[::-1]}, owner))["deck"] == edited
    await move(api, owner, deck, polls[1])
    problem(await api.patch(path, {"pollIds": ids[:1]}, owner), "VALIDATION_FAILED", "pollIds")
    less = ok(await api.patch(path, {"pollIds": [ids[1]]}, owner))["deck"]
    assert (less["count"], less["position"]) == (1, 1)
    assert (await api.state(polls[0], owner))["poll"]["deckId"] is None
    problem(await api.patch(path, {"title": "x"}, guest), "FORBIDDEN")
    problem(await api.patch(path, {"title": "x"}), "UNAUTHENTICATED")
    problem(await api.patch("/decks/unknown", {"title": "x"}, owner), "NOT_FOUND")
    foreign = await api.poll(await api.user())
    problem(await api.patch(path, {"pollIds": [ids[1], foreign["id"]]}, owner), "NOT_FOUND")
    await make(api, owner, polls[:1])
    problem(await api.patch(path, {"pollIds": ids[:2]}, owner), "POLL_IN_DECK")


async def test_moving_closes_the_old_poll_and_opens_the_new_one(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    first = await move(api, owner, deck, polls[0], version=deck["version"])
    assert first["poll"]["id"] == first["deck"]["currentPollId"] == polls[0]["id"]
    assert first["poll"]["status"] == "open" and first["deck"]["position"] == 1
    second = await move(api, owner, deck, polls[1])
    assert second["deck"]["version"] > first["deck"]["version"]
    assert (await api.state(polls[0]))["poll"]["status"] == "closed"
    back = await move(api, owner, deck, polls[0])
    assert back["poll"]["status"] == "closed" and back["tally"]["final"]
    nothing = await move(api, owner, deck, None)
    assert (nothing["poll"], nothing["tally"], nothing["deck"]["currentPollId"]) == (None, None, None)


async def test_a_move_that_closes_and_opens_nothing(api: Api, owner: Person) -> None:
    polls = [await api.poll(owner), await api.poll(owner, opensAt=ahead(1000))]
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    moved = await move(api, owner, deck, polls[1], open=False, close=False)
    assert moved["poll"]["status"] == "scheduled"
    assert (await api.state(polls[0]))["poll"]["status"] == "open"
    opened = await move(api, owner, deck, polls[1])
    assert opened["poll"]["status"] == "open"
    assert opened["deck"]["version"] == moved["deck"]["version"]


async def test_a_repeated_move_is_safe(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    moved = await move(api, owner, deck, polls[0], version=deck["version"])
    assert await move(api, owner, deck, polls[0], version=deck["version"]) == moved


async def test_of_two_hosts_one_wins(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    answers = await asyncio.gather(
        *(
            api.post(
                f"/decks/{deck['id']}/current", {"pollId": poll["id"], "version": deck["version"]}, owner
            )
            for poll in polls[:2]
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    loser = next(answer for answer in answers if answer.status_code == 409)
    problem(loser, "DECK_MOVED")
    statuses = [(await api.state(poll, owner))["poll"]["status"] for poll in polls]
    assert sorted(statuses) == ["draft", "draft", "open"]


async def test_the_order_of_checks_of_a_move(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    path, poll = f"/decks/{deck['id']}/current", {"pollId": polls[0]["id"]}
    problem(await api.post(path, {}), "UNAUTHENTICATED")
    problem(await api.post(path, {}, owner), "VALIDATION_FAILED", "pollId")
    problem(await api.post("/decks/unknown/current", {"pollId": 1}, owner), "VALIDATION_FAILED", "pollId")
    problem(await api.post("/decks/unknown/current", poll, owner), "NOT_FOUND")
    problem(await api.post(path, {"pollId": "unknown"}, guest), "FORBIDDEN")
    problem(await api.post(path, {"pollId": "unknown", "version": 0}, owner), "NOT_FOUND")
    problem(await api.post(path, poll | {"version": 0, "open": False}, owner), "DECK_MOVED")
    problem(await api.post(path, poll | {"open": False}, owner), "POLL_NOT_OPEN")
    timed = await api.poll(owner, draft=True, closesAt=ahead(0.5))
    ok(
        await api.patch(
            f"/decks/{deck['id']}", {"pollIds": [polls[0]["id"], polls[1]["id"], timed["id"]]}, owner
        )
    )

    async def refused() -> Any:
        return (await api.post(path, {"pollId": timed["id"], "open": False}, owner)).json()["code"]

    assert await refused() == "POLL_NOT_OPEN"

    async def overdue() -> bool:
        return ahead(0) > timed["closesAt"]

    await eventually(overdue, bool)
    problem(await api.post(path, {"pollId": timed["id"]}, owner), "POLL_CLOSED")
    assert ok(await api.get(f"/decks/{deck['id']}"))["deck"]["currentPollId"] is None
    ok(await api.post(f"/decks/{deck['id']}/end", None, owner))
    problem(await api.post(path, {"pollId": "unknown"}, owner), "DECK_ENDED")


async def test_an_ended_deck_moves_no_more(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    path = f"/decks/{deck['id']}"
    problem(await api.post(f"{path}/end", None, guest), "FORBIDDEN")
    ended = check_deck(ok(await api.post(f"{path}/end", None, owner))["deck"])
    assert TIME.match(ended["endedAt"]) and ended["polls"][0]["status"] == "closed"
    assert ok(await api.post(f"{path}/end", None, owner))["deck"] == ended
    problem(await api.post(f"{path}/current", {"pollId": polls[1]["id"]}, owner), "DECK_ENDED")
    problem(await api.patch(path, {"pollIds": []}, owner), "DECK_ENDED")
    assert ok(await api.patch(path, {"title": "Over"}, owner))["deck"]["title"] == "Over"


async def test_a_deleted_deck_leaves_its_polls(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    path = f"/decks/{deck['id']}"
    problem(await api.delete(path, guest), "FORBIDDEN")
    ok(await api.delete(path, owner), 204)
    problem(await api.get(path), "NOT_FOUND")
    problem(await api.get(f"/join/{deck['code']}"), "NOT_FOUND")
    state = await api.state(polls[0])
    assert state["poll"]["status"] == "open" and state["poll"]["deckId"] is None


async def test_a_deleted_poll_leaves_its_deck(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    await move(api, owner, deck, polls[0])
    ok(await api.delete(f"/polls/{polls[0]['id']}", owner), 204)
    found = check_deck(ok(await api.get(f"/decks/{deck['id']}", owner))["deck"])
    assert (found["currentPollId"], found["count"]) == (None, 2)


async def test_joining_by_a_decks_code(api: Api, owner: Person, guest: Person) -> None:
    polls = await drafts(api, owner)
    deck = await make(api, owner, polls)
    seen = ok(await api.get(f"/join/{deck['code'].lower()}", guest))
    assert set(seen) == {"deck", "poll", "tally", "yourVote"}
    assert (seen["poll"], seen["tally"], seen["yourVote"]) == (None, None, None)
    await move(api, owner, deck, polls[0])
    await api.vote(guest, polls[0]["id"], option_ids(polls[0])[:1])
    seen = ok(await api.get(f"/join/{deck['code']}", guest))
    assert seen["deck"]["currentPollId"] == seen["poll"]["id"] == polls[0]["id"]
    assert seen["yourVote"]["optionIds"] == option_ids(polls[0])[:1] and seen["tally"]["voters"] == 1


async def test_a_round_stands_after_the_original(api: Api, owner: Person) -> None:
    polls = await drafts(api, owner, 2)
    deck = await make(api, owner, polls)
    again = ok(await api.post(f"/polls/{polls[0]['id']}/again", {"draft": True}, owner), 201)["poll"]
    assert again["deckId"] == deck["id"]
    found = ok(await api.get(f"/decks/{deck['id']}", owner))["deck"]
    assert [poll["id"] for poll in found["polls"]] == [polls[0]["id"], again["id"], polls[1]["id"]]
    assert found["version"] > deck["version"]
    ok(await api.post(f"/decks/{deck['id']}/end", None, owner))
    assert ok(await api.post(f"/polls/{polls[0]['id']}/again", None, owner), 201)["poll"]["deckId"] is None


async def test_a_qr_code_leads_to_the_page(api: Api, owner: Person) -> None:
    poll, draft = await api.poll(owner), await api.poll(owner, draft=True)
    deck = await make(api, owner, [])
    for code in (poll["code"], deck["code"], poll["code"].lower()):
        answer = await api.get(f"/join/{code}/qr.svg")
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml"
        assert "host" in answer.headers["vary"].lower() and b"<svg" in answer.content
    for who in (None, owner):
        problem(await api.get(f"/join/{draft['code']}/qr.svg", who), "NOT_FOUND")
    problem(await api.get("/join/AAAAAA/qr.svg"), "NOT_FOUND")
