"""Challenges: guests of some polls, or all guests, solve one before they vote."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from altcha.v1 import Payload, solve_challenge

from tests.harness.targets import Target
from tools.harness.http import Api, Person, ok, person, problem
from tools.harness.process import Server, serving
from tools.harness.shapes import check_session, option_ids
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def strict(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Every guest solves a challenge, an easy one."""
    settings = where.settings | {"GUEST_CHALLENGE": "always", "CHALLENGE_COST": "1000"}
    with serving(tmp_path_factory.mktemp("strict"), settings, where.instances) as server:
        yield server


def solve(challenge: dict[str, Any]) -> str:
    solution = solve_challenge(
        challenge["challenge"], challenge["salt"], challenge["algorithm"], challenge["maxnumber"]
    )
    assert solution is not None
    return encode(
        Payload(
            challenge["algorithm"],
            challenge["challenge"],
            solution.number,
            challenge["salt"],
            challenge["signature"],
        ).to_dict()
    )


def encode(payload: Any) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


async def solution_of(api: Api) -> str:
    challenge = ok(await api.get("/auth/challenge"))
    assert set(challenge) == {"algorithm", "challenge", "maxnumber", "salt", "signature"}
    return await asyncio.to_thread(solve, challenge)


async def proven_guest(api: Api) -> Person:
    return person(ok(await api.post("/auth/guest", {"solution": await solution_of(api)}), 201))


async def vote(api: Api, poll: dict[str, Any], who: Person) -> Any:
    return await api.post(f"/polls/{poll['id']}/votes", {"optionIds": option_ids(poll)[:1]}, who)


async def test_a_poll_with_a_challenge_takes_proven_guests_and_accounts(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests="challenge")
    assert poll["guests"] == "challenge"
    problem(await vote(api, poll, await api.guest()), "CHALLENGE_REQUIRED")
    ok(await vote(api, poll, await proven_guest(api)), 201)
    ok(await vote(api, poll, await api.user()), 201)
    assert (await api.tally(poll))["voters"] == 2


async def test_a_socket_refuses_the_ballot_of_a_guest_without_proof(
    server: Server, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests="challenge")
    guest = await api.guest()
    async with socket(server, guest.token) as unproven:
        await unproven.join(poll)
        (await unproven.vote(poll["id"], option_ids(poll)[:1])).refused("CHALLENGE_REQUIRED")
    async with socket(server, (await proven_guest(api)).token) as proven:
        await proven.join(poll)
        (await proven.vote(poll["id"], option_ids(poll)[:1])).fresh()


async def test_a_guest_proves_itself_later_and_stays_the_same_guest(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests="challenge")
    guest = await api.guest("Ann")
    body = ok(await api.post("/auth/proof", {"solution": await solution_of(api)}, guest))
    check_session(body)
    assert body["user"] == guest.user
    ok(await vote(api, poll, person(body)), 201)
    problem(await api.post("/auth/refresh", {"refreshToken": guest.refresh}), "UNAUTHENTICATED")


async def test_a_proof_outlasts_a_refresh(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests="challenge")
    guest = await proven_guest(api)
    refreshed = person(ok(await api.post("/auth/refresh", {"refreshToken": guest.refresh})))
    ok(await vote(api, poll, refreshed), 201)


async def test_only_guests_prove_themselves(api: Api, owner: Person) -> None:
    problem(await api.post("/auth/proof", {"solution": await solution_of(api)}, owner), "FORBIDDEN")
    problem(await api.post("/auth/proof", {"solution": "x"}), "UNAUTHENTICATED")


async def test_a_solution_makes_one_guest_on_all_instances(api: Api, server: Server) -> None:
    solution = await solution_of(api)
    copies = await asyncio.gather(
        *(
            api.post("/auth/guest", {"solution": solution}, base=server.url(number % server.size))
            for number in range(6)
        )
    )
    assert sorted(copy.status_code for copy in copies) == [201, 422, 422, 422, 422, 422]
    refused = problem(await api.post("/auth/guest", {"solution": solution}), "VALIDATION_FAILED", "solution")
    assert refused["fields"]["solution"] == "was used before"


async def test_wrong_solutions_are_refused(api: Api) -> None:
    right = json.loads(base64.b64decode(await solution_of(api)))
    wrong = [
        right | {"number": right["number"] + 1},
        right | {"challenge": "0" * 64},
        right | {"signature": "0" * 64},
        right | {"salt": right["salt"].replace("expires=", "expires=9")},
        right | {"salt": "a" * 2000},
        right | {"algorithm": "SHA-1"},
        right | {"number": "1"},
        {"algorithm": "SHA-256"},
        [],
        None,
    ]
    for payload in wrong:
        answer = await api.post("/auth/guest", {"solution": encode(payload)})
        problem(answer, "VALIDATION_FAILED", "solution")
    for text in ("", "%%%", "é", "bm8=", "A" * 5000):
        problem(await api.post("/auth/guest", {"solution": text}), "VALIDATION_FAILED", "solution")
    problem(await api.post("/auth/guest", {"solution": 7}), "VALIDATION_FAILED", "solution")
    ok(await api.post("/auth/guest", {"solution": encode(right)}), 201)


async def test_owners_set_and_lift_the_challenge_of_a_poll(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True)
    guest = await api.guest()
    poll = await api.edit(owner, poll, guests="challenge")
    assert poll["guests"] == "challenge"
    problem(await vote(api, poll, guest), "CHALLENGE_REQUIRED")
    poll = await api.edit(owner, poll, question="Well?")
    assert poll["guests"] == "challenge", "absent leaves it"
    poll = await api.edit(owner, poll, guests=False)
    assert poll["guests"] is False
    problem(await vote(api, poll, await proven_guest(api)), "FORBIDDEN")
    poll = await api.edit(owner, poll, guests=True)
    ok(await vote(api, poll, guest), 201)
    poll = await api.edit(owner, poll, guests=None)
    assert poll["guests"] is False
    answer = await api.post("/polls", {"question": "?", "options": ["a", "b"], "guests": "some"}, owner)
    problem(answer, "VALIDATION_FAILED", "guests")


async def test_another_round_keeps_the_challenge(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests="challenge")
    again = ok(await api.post(f"/polls/{poll['id']}/again", None, owner), 201)["poll"]
    assert again["guests"] == "challenge"


async def test_a_closed_poll_refuses_a_guest_without_proof_in_the_same_words(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests="challenge")
    await api.close(owner, poll)
    problem(await vote(api, poll, await api.guest()), "CHALLENGE_REQUIRED")
    problem(await vote(api, poll, await proven_guest(api)), "POLL_CLOSED")


async def test_a_server_may_ask_every_guest_for_a_solution(strict: Server) -> None:
    async with Api(strict) as api:
        problem(await api.post("/auth/guest"), "CHALLENGE_REQUIRED")
        problem(await api.post("/auth/guest", {"name": "Ann"}), "CHALLENGE_REQUIRED")
        guest = person(
            ok(await api.post("/auth/guest", {"name": "Ann", "solution": await solution_of(api)}), 201)
        )
        assert guest.user["name"] == "Ann"
        poll = await api.poll(await api.user(), guests=True)
        ok(await vote(api, poll, guest), 201)


async def test_a_bad_name_does_not_spend_the_solution(api: Api) -> None:
    solution = await solution_of(api)
    problem(await api.post("/auth/guest", {"name": "", "solution": solution}), "VALIDATION_FAILED", "name")
    ok(await api.post("/auth/guest", {"name": "Ann", "solution": solution}), 201)
