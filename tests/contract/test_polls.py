"""Reading and deleting polls, and whose they are."""

import asyncio
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, problem
from tools.harness.shapes import option_ids, public
from tools.harness.wait import SOON, ahead, eventually

pytestmark = pytest.mark.anyio


async def test_whoever_knows_the_id_or_the_code_reads_a_poll_without_a_token(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    by_id = ok(await api.get(f"/polls/{poll['id']}"))
    assert set(by_id) == {"poll", "tally", "yourVote"}
    assert by_id["poll"] == public(poll)
    assert by_id["yourVote"] is None
    assert (by_id["tally"]["voters"], by_id["tally"]["final"]) == (0, False)
    assert ok(await api.get(f"/join/{poll['code']}")) == by_id


async def test_codes_are_read_without_regard_to_case(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    code = poll["code"]
    for spelt in (code, code.lower(), code[:3].lower() + code[3:]):
        assert ok(await api.get(f"/join/{spelt}"))["poll"]["id"] == poll["id"]


async def test_codes_differ(api: Api, owner: Person) -> None:
    polls = await asyncio.gather(*(api.poll(owner) for _ in range(10)))
    assert len({poll["code"] for poll in polls}) == len({poll["id"] for poll in polls}) == 10


UNKNOWN = [
    "unknown",
    "x" * 26,
    "x" * 27,
    "x" * 3000,
    "a.b",
    "%20",
    "%00",
    "%ff",
    "a%2Fb",
    "💥",
    "-",
    "..%2Fauth",
]


@pytest.mark.parametrize("poll_id", UNKNOWN, ids=lambda value: value[:30])
async def test_an_unknown_or_malformed_id_or_code_is_not_found(api: Api, owner: Person, poll_id: str) -> None:
    for method, path, body in (
        ("GET", f"/polls/{poll_id}", None),
        ("GET", f"/join/{poll_id}", None),
        ("GET", f"/polls/{poll_id}/results", None),
        ("PATCH", f"/polls/{poll_id}", {}),
        ("DELETE", f"/polls/{poll_id}", None),
        ("POST", f"/polls/{poll_id}/open", None),
        ("POST", f"/polls/{poll_id}/close", None),
        ("POST", f"/polls/{poll_id}/votes", {"optionIds": ["x"]}),
        ("DELETE", f"/polls/{poll_id}/votes/mine", None),
    ):
        problem(await api.call(method, path, body, owner), "NOT_FOUND")


@pytest.mark.parametrize(
    "code", ["IIIIII", "LLLLLL", "OOOOOO", "000000", "AAAAA", "AAAAAAA", "AAA AA", "ÄÄÄÄÄÄ"]
)
async def test_a_code_that_cannot_be_one_is_not_found(api: Api, code: str) -> None:
    problem(await api.get(f"/join/{code}"), "NOT_FOUND")


async def test_a_draft_exists_for_its_owner_alone(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    poll = await api.poll(owner, draft=True, guests=True)
    assert poll["status"] == "draft"
    for path in (f"/polls/{poll['id']}", f"/join/{poll['code']}", f"/polls/{poll['id']}/results"):
        ok(await api.get(path, owner))
        problem(await api.get(path), "NOT_FOUND")
        problem(await api.get(path, guest), "NOT_FOUND")
    stranger = guest
    problem(await api.patch(f"/polls/{poll['id']}", {}, stranger), "NOT_FOUND")
    problem(await api.delete(f"/polls/{poll['id']}", stranger), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/open", None, stranger), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/close", None, stranger), "NOT_FOUND")
    (await api.vote(stranger, poll["id"], option_ids(poll)[:1])).refused("NOT_FOUND")
    async with ws(stranger) as sock:
        for field in ({"pollId": poll["id"]}, {"code": poll["code"]}):
            await sock.send({"type": "JOIN_POLL"} | field)
            assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
        (await sock.vote(poll["id"], option_ids(poll)[:1])).refused("NOT_FOUND")
    async with ws(owner) as sock:
        assert (await sock.join(poll))["poll"]["status"] == "draft"


async def test_a_draft_opens_only_by_open(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, draft=True, opensAt="2020-01-01T00:00:00Z")
    assert poll["status"] == "draft"
    assert (await api.state(poll, owner))["poll"]["status"] == "draft"
    assert (await api.open(owner, poll))["poll"]["status"] == "open"


async def test_results_are_the_polls_id_options_and_tally(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    (await api.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
    results = ok(await api.get(f"/polls/{poll['id']}/results"))
    assert set(results) == {"pollId", "options", "tally"}
    assert (results["pollId"], results["options"]) == (poll["id"], poll["options"])
    assert results["tally"] == await api.tally(poll)
    assert results["tally"]["counts"][option_ids(poll)[0]] == 1


async def test_counts_name_every_option(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=["a", "b", "c"])
    assert (await api.tally(poll))["counts"] == dict.fromkeys(option_ids(poll), 0)


async def test_only_the_owner_edits_opens_closes_and_deletes(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner)
    stranger = await api.user()
    for who, code in ((None, "UNAUTHENTICATED"), (guest, "FORBIDDEN"), (stranger, "FORBIDDEN")):
        problem(await api.patch(f"/polls/{poll['id']}", {"question": "Mine"}, who), code)
        problem(await api.post(f"/polls/{poll['id']}/open", None, who), code)
        problem(await api.post(f"/polls/{poll['id']}/close", None, who), code)
        problem(await api.delete(f"/polls/{poll['id']}", who), code)
    state = await api.state(poll)
    assert state["poll"] == public(poll)


async def test_deleting_answers_204_and_nothing_is_left_to_see(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await api.poll(owner, guests=True)
    options = option_ids(poll)
    (await api.vote(guest, poll["id"], options[:1], id="mine")).fresh()
    response = await api.delete(f"/polls/{poll['id']}", owner)
    assert (response.status_code, response.content) == (204, b"")
    for who in (None, guest, owner):
        problem(await api.get(f"/polls/{poll['id']}", who), "NOT_FOUND")
        problem(await api.get(f"/join/{poll['code']}", who), "NOT_FOUND")
        problem(await api.get(f"/polls/{poll['id']}/results", who), "NOT_FOUND")
    problem(await api.delete(f"/polls/{poll['id']}", owner), "NOT_FOUND")
    problem(await api.patch(f"/polls/{poll['id']}", {"question": "Q"}, owner), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/open", None, owner), "NOT_FOUND")
    problem(await api.post(f"/polls/{poll['id']}/close", None, owner), "NOT_FOUND")
    (await api.vote(guest, poll["id"], options[:1], id="mine")).refused("NOT_FOUND")
    (await api.vote(owner, poll["id"], options[:1])).refused("NOT_FOUND")
    (await api.retract(guest, poll["id"])).refused("NOT_FOUND")
    async with ws(guest) as sock:
        await sock.send({"type": "JOIN_POLL", "pollId": poll["id"]})
        assert (await sock.expect("ERROR"))["code"] == "NOT_FOUND"
        (await sock.vote(poll["id"], options[:1], id="mine")).refused("NOT_FOUND")


async def test_a_deleted_poll_leaves_the_list(api: Api) -> None:
    user = await api.user()
    kept, gone = await api.poll(user), await api.poll(user)
    await api.delete(f"/polls/{gone['id']}", user)
    assert [poll["id"] for poll in ok(await api.get("/polls", user))["items"]] == [kept["id"]]


async def test_deleting_twice_at_once_is_one_204_and_one_not_found(api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    responses = await asyncio.gather(*(api.delete(f"/polls/{poll['id']}", owner) for _ in range(4)))
    assert {response.status_code for response in responses} <= {204, 404}
    assert 204 in {response.status_code for response in responses}


async def test_the_status_follows_the_clock_when_nobody_watches(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, opensAt=ahead(SOON), closesAt=ahead(2 * SOON))
    seen: list[str] = []

    async def status() -> str:
        state = await api.state(poll)
        seen.append(state["poll"]["status"])
        return seen[-1]

    await eventually(status, lambda now: now == "closed", 2 * SOON + 5)
    assert sorted(set(seen), key=seen.index) == ["scheduled", "open", "closed"]
    assert (await api.tally(poll))["final"] is True
