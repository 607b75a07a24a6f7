"""Counts that a client may not see never reach the wire: bodies and frames as they came, for each visibility and role."""

from typing import Any

import pytest

from tests.contract.bodies import HIDING, VISIBILITIES, bodies
from tools.harness.http import Api, Person, ok
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio


def may_see(visibility: str, role: str, voted: bool, closed: bool) -> bool:
    if role == "owner" or visibility == "always":
        return True
    if visibility == "owner":
        return False
    return closed or (visibility == "after_vote" and voted)


def shows_counts(text: str, poll: dict[str, Any]) -> bool:
    tally = text[text.index('"tally"') :]
    return '"counts"' in tally


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_counts_are_in_a_body_only_for_who_may_see_them(
    api: Api, owner: Person, visibility: str
) -> None:
    poll = await api.poll(owner, resultsVisibility=visibility, guests=True, allowChange=True)
    voter, retracted, bystander = await api.guests(3)
    options = option_ids(poll)
    roles: dict[str, Person | None] = {
        "owner": owner,
        "voter": voter,
        "retracted": retracted,
        "bystander": bystander,
        "anonymous": None,
    }

    async def check(voted: set[str], closed: bool) -> None:
        for role, who in roles.items():
            seen = may_see(visibility, role, role in voted, closed)
            for text in await bodies(api, poll, who):
                assert shows_counts(text, poll) == seen, (role, closed, text)

    await check(set(), False)
    (await api.vote(voter, poll["id"], options[:1])).fresh()
    (await api.vote(retracted, poll["id"], options[1:])).fresh()
    (await api.retract(retracted, poll["id"])).fresh()
    await check({"voter", "retracted"}, False)
    await api.close(owner, poll)
    await check({"voter", "retracted"}, True)


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_counts_are_in_a_frame_only_for_who_may_see_them(
    api: Api, owner: Person, ws: Any, visibility: str
) -> None:
    poll = await api.poll(owner, resultsVisibility=visibility, guests=True, allowChange=True)
    options = option_ids(poll)
    voter, bystander, other = await api.guests(3)
    async with ws(owner) as mine, ws(voter) as voting, ws(bystander) as watching, ws() as anonymous:
        sockets = {"owner": mine, "voter": voting, "bystander": watching, "anonymous": anonymous}
        marks = dict.fromkeys(sockets, 0)

        def check(voted: set[str], closed: bool) -> None:
            for role, sock in sockets.items():
                seen = may_see(visibility, role, role in voted, closed)
                for frame, text in list(zip(sock.frames, sock.raw, strict=True))[marks[role] :]:
                    if "tally" in frame:
                        assert ("counts" in frame["tally"]) == seen, (role, text)
                    elif "poll" not in frame:
                        assert '"counts"' not in text, (role, text)
                marks[role] = sock.mark()

        for sock in sockets.values():
            await sock.join(poll)
        (await api.vote(other, poll["id"], options[1:], id="b")).fresh()
        for sock in sockets.values():
            await sock.shows(poll, voters=1)
        check(set(), False)
        await api.edit(owner, poll, question="Edited before the vote")
        for sock in sockets.values():
            await sock.expect("POLL_CHANGED")
        check(set(), False)
        (await voting.vote(poll["id"], options[:1], id="b")).fresh()
        for sock in sockets.values():
            await sock.shows(poll, voters=2)
        for role in ("owner", "bystander", "anonymous"):
            assert all(
                ("counts" in frame["tally"]) == may_see(visibility, role, False, False)
                for frame in sockets[role].since(marks[role])
                if "tally" in frame
            )
        marks = {role: sock.mark() for role, sock in sockets.items()}
        await api.edit(owner, poll, question="Edited after the vote")
        for sock in sockets.values():
            await sock.expect("POLL_CHANGED", poll={"question": "Edited after the vote"})
        check({"voter"}, False)
        (await voting.retract(poll["id"], "r")).fresh()
        for role, sock in sockets.items():
            await sock.shows(poll, mark=marks[role], voters=1)
        check({"voter"}, False)
        for sock in sockets.values():
            await sock.join(poll)
        check({"voter"}, False)
        await api.close(owner, poll)
        for sock in sockets.values():
            await sock.shows(poll, final=True)
        check({"voter"}, True)


@pytest.mark.parametrize("visibility", HIDING)
async def test_answers_to_ballots_carry_no_counts(
    api: Api, owner: Person, ballots: Any, guest: Person, visibility: str
) -> None:
    poll = await api.poll(owner, resultsVisibility=visibility, guests=True, allowChange=True)
    for answer in (
        await ballots.vote(guest, poll["id"], option_ids(poll)[:1], id="b"),
        await ballots.vote(guest, poll["id"], option_ids(poll)[:1], id="b"),
        await ballots.vote(guest, poll["id"], option_ids(poll)[1:], id="b"),
        await ballots.retract(guest, poll["id"], "r"),
    ):
        assert "counts" not in answer.body
        assert "tally" not in answer.body


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_voters_are_in_every_tally_and_results_are_always_200(
    api: Api, owner: Person, guest: Person, visibility: str
) -> None:
    poll = await api.poll(owner, resultsVisibility=visibility, guests=True)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1])).fresh()
    for who in (None, guest, owner):
        results = ok(await api.get(f"/polls/{poll['id']}/results", who))
        assert results["tally"]["voters"] == 1
        assert results["options"] == poll["options"]


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_the_owner_sees_counts_when_opening_and_closing(
    api: Api, owner: Person, visibility: str
) -> None:
    poll = await api.poll(owner, resultsVisibility=visibility, draft=True)
    assert "counts" in (await api.open(owner, poll))["tally"]
    assert "counts" in (await api.close(owner, poll))["tally"]
