"""Verifiable polls: ids, commitment, proofs, and scripts/verify on all of it."""

import asyncio
import json
import random
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.verifying import SCRIPT, verify
from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import Server
from tools.harness.shapes import option_ids
from tools.harness.sse import stream
from tools.harness.wait import ahead, eventually

pytestmark = pytest.mark.anyio

CLOSE_SECONDS = 5


def new_id() -> str:
    return secrets.token_urlsafe(17)[:22]


async def made(api: Api, owner: Person, **fields: Any) -> dict[str, Any]:
    return await api.poll(owner, **({"guests": True, "verifiable": True} | fields))


async def committed(api: Api, poll: dict[str, Any], who: Person | None = None) -> dict[str, Any]:
    """The poll once it has its commitment."""

    async def shown() -> dict[str, Any]:
        return (await api.state(poll, who))["poll"]  # type: ignore[no-any-return]

    return await eventually(shown, lambda found: found["commitment"], CLOSE_SECONDS)  # type: ignore[no-any-return]


async def document_of(api: Api, poll: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = ok(await api.get(f"/polls/{poll['id']}/commitment"))
    return found


async def checked(
    server: Server, poll: dict[str, Any], folder: Path, receipts: Any = (), *more: str
) -> subprocess.CompletedProcess[str]:
    """scripts/verify as anybody runs it."""
    file = folder / "receipts.json"
    file.write_text(json.dumps(receipts))
    command = [sys.executable, "-I", str(SCRIPT), f"{server.url()}/polls/{poll['id']}", *more]
    if receipts:
        command += ["--receipts", str(file)]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)


async def test_sixty_guests_who_vote_change_and_retract_all_verify(
    api: Api, owner: Person, server: Server, tmp_path: Path
) -> None:
    poll = await made(api, owner, options=["a", "b", "c"], allowChange=True, maxChoices=2)
    options, rng = option_ids(poll), random.Random(1)
    receipts: dict[str, dict[str, Any]] = {}
    retracted: list[dict[str, Any]] = []

    async def guest(person: Person, number: int) -> None:
        for _ in range(1 + number % 3):
            chosen = rng.sample(options, rng.randint(1, 2))
            answer = await api.vote(person, poll["id"], chosen, id=new_id())
            receipts[person.id] = answer.fresh()
        if number % 5 == 0:
            (await api.retract(person, poll["id"], "short is fine")).refused("VALIDATION_FAILED")
            (await api.retract(person, poll["id"], "short")).fresh()
            retracted.append(receipts.pop(person.id))

    people = await api.guests(60)
    await asyncio.gather(*(guest(person, number) for number, person in enumerate(people)))
    tally = (await api.close(owner, poll))["tally"]
    shown = await committed(api, poll)
    assert tally["voters"] == len(receipts) == 48 == shown["commitment"]["size"]
    done = await checked(
        server, poll, tmp_path, list(receipts.values()), "--fingerprint", shown["commitment"]["fingerprint"]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is in the result: number") == 48 and "WRONG" not in done.stdout
    gone = await checked(server, poll, tmp_path, retracted[:1])
    assert (
        gone.returncode == 1 and "receipt 1 is in the result: this ballot is NOT in the result" in gone.stdout
    )
    other = await checked(server, poll, tmp_path, (), "--fingerprint", "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA")
    assert other.returncode == 1 and "the fingerprint is the one that you were shown: it is" in other.stdout


async def test_an_id_that_could_be_guessed_is_refused_right_after_forbidden(
    api: Api, owner: Person, guest: Person, ballots: Any
) -> None:
    poll, closed = await made(api, owner), await made(api, owner)
    options = option_ids(poll)
    alone = await made(api, owner, guests=False)
    await api.close(owner, closed)
    for answer in (
        await ballots.vote(guest, poll["id"], options[:1], id="x" * 21),
        await ballots.vote(guest, poll["id"], options[:1]),
        await ballots.vote(guest, poll["id"], ["nothing"], id="short"),
        await ballots.vote(guest, closed["id"], options[:1], id="short"),
    ):
        assert set(answer.refused("VALIDATION_FAILED")["fields"]) == {"id"}
    (await ballots.vote(guest, alone["id"], options[:1], id="short")).refused("FORBIDDEN")
    (await ballots.vote(guest, closed["id"], options[:1], id=new_id())).refused("POLL_CLOSED")
    (await ballots.vote(guest, poll["id"], ["nothing"], id=new_id())).refused("INVALID_OPTION")
    first = await ballots.vote(guest, poll["id"], options[:1], id="x" * 22)
    first.fresh()
    (await ballots.vote(guest, poll["id"], options[:1], id="x" * 22)).repeats(first)
    (await ballots.vote(owner, poll["id"], options[:1], id="y" * 64)).fresh()
    plain = await api.poll(owner, guests=True)
    (await ballots.vote(guest, plain["id"], option_ids(plain)[:1], id="x")).fresh()


async def test_what_was_asked_is_fixed_by_the_first_vote(api: Api, owner: Person, guest: Person) -> None:
    poll = await api.poll(owner, guests=True)
    assert poll["verifiable"] is False and poll["commitment"] is None
    path = f"/polls/{poll['id']}"
    edited = await api.edit(owner, poll, verifiable=True, question="New?", description="More")
    assert edited["verifiable"] is True
    assert (await api.edit(owner, poll, verifiable=None))["verifiable"] is False
    await api.edit(owner, poll, verifiable=True)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id=new_id())).fresh()
    for change in ({"question": "Else?"}, {"description": None}, {"verifiable": False}, {"verifiable": None}):
        problem(await api.patch(path, change, owner), "POLL_LOCKED")
    same = {"question": "New?", "description": "More", "verifiable": True, "resultsVisibility": "owner"}
    ok(await api.patch(path, same, owner))
    await api.close(owner, poll)
    problem(await api.patch(path, {"question": "Else?"}, owner), "POLL_LOCKED")
    problem(await api.patch(path, {"verifiable": "yes"}, owner), "VALIDATION_FAILED", "verifiable")
    plain = await api.poll(owner, guests=True)
    (await api.vote(guest, plain["id"], option_ids(plain)[:1])).fresh()
    problem(await api.patch(f"/polls/{plain['id']}", {"verifiable": True}, owner), "POLL_LOCKED")
    assert (await api.edit(owner, plain, question="Else?"))["question"] == "Else?"


async def test_the_commitment_comes_with_one_more_poll_changed(
    api: Api, owner: Person, guest: Person, ws: Any
) -> None:
    poll = await made(api, owner)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id=new_id())).fresh()
    async with ws() as sock, stream(api, poll) as reader:
        await sock.join(poll)
        await api.close(owner, poll)
        closing = await sock.expect("POLL_CHANGED")
        assert closing["poll"]["status"] == "closed" and closing["poll"]["commitment"] is None
        changed = await sock.expect("POLL_CHANGED")
        commitment = changed["poll"]["commitment"]
        assert set(commitment) == {"size", "root", "fingerprint"} and commitment["size"] == 1
        assert changed["tally"]["seq"] == closing["tally"]["seq"] + 1
        await reader.next("POLL_CHANGED")
        assert (await reader.next("POLL_CHANGED"))["data"]["poll"] == changed["poll"]
    assert (await api.state(poll))["poll"]["commitment"] == commitment
    assert (
        next(
            item for item in ok(await api.get("/polls?limit=100", owner))["items"] if item["id"] == poll["id"]
        )["commitment"]
        == commitment
    )


async def test_a_poll_that_closes_by_itself_commits_without_viewers(api: Api, owner: Person) -> None:
    poll = await made(api, owner, closesAt=ahead(1))
    shown = await eventually(
        lambda: api.get(f"/polls/{poll['id']}/commitment"), lambda answer: answer.status_code == 200, 8
    )
    assert ok(shown)["size"] == 0
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert ok(shown)["root"] == empty
    assert (await api.get(f"/polls/{poll['id']}/ballots.csv")).text == "ballotId,optionIds\n"
    problem(await api.get(f"/polls/{poll['id']}/proof?leaf={empty}"), "NOT_FOUND")


async def test_what_anybody_reads_of_a_closed_poll(api: Api, owner: Person) -> None:
    poll = await made(api, owner, options=["Tea ☕", "Coffee"], maxChoices=2, allowChange=True)
    options = option_ids(poll)
    people = await api.guests(3)
    same = new_id()
    chosen = ([options[1], options[0]], options[:1], options[:1])
    ids = (f"-{new_id()[1:]}", same, same)
    for person, option, id in zip(people, chosen, ids, strict=True):
        (await api.vote(person, poll["id"], option, id=id)).fresh()
    for call in ("commitment", "ballots.csv", f"proof?leaf={'0' * 64}"):
        problem(await api.get(f"/polls/{poll['id']}/{call}"), "NOT_FOUND")
    await api.close(owner, poll)
    commitment = (await committed(api, poll))["commitment"]
    document = await document_of(api, poll)
    assert {name: document[name] for name in commitment} == commitment
    assert set(document) == {*commitment, "terms", "question", "options", "checkpoint"}
    assert document["question"] == poll["question"]
    assert document["options"] == [{"id": o["id"], "label": o["label"]} for o in poll["options"]]
    root = verify.check_commitment(document)
    listed = await api.get(f"/polls/{poll['id']}/ballots.csv")
    assert listed.headers["content-type"].startswith("text/csv")
    counts = verify.check_ballots(iter(listed.text.splitlines()), poll["id"], document, root)
    assert counts == {options[0]: 3, options[1]: 1}
    assert sorted(listed.text.splitlines()[1:]) == sorted(
        [f"{ids[0]},{' '.join(sorted(options))}", f"{same},{options[0]}", f"{same},{options[0]}"]
    )
    for id, option in zip(ids, chosen, strict=True):
        leaf = verify.leaf_of(poll["id"], document["terms"], id, option)
        proof = ok(await api.get(f"/polls/{poll['id']}/proof?leaf={leaf.hex().upper()}"))
        assert set(proof) == {"index", "size", "root", "path"}
        assert verify.root_of_path(leaf, proof["index"], 3, [bytes.fromhex(h) for h in proof["path"]]) == root
        assert listed.text.splitlines()[1 + proof["index"]].startswith(f"{id},")
    equal = verify.leaf_of(poll["id"], document["terms"], same, options[:1]).hex()
    first = ok(await api.get(f"/polls/{poll['id']}/proof?leaf={equal}"))["index"]
    assert [line.split(",")[0] for line in listed.text.splitlines()[1:]].index(same) == first
    problem(await api.get(f"/polls/{poll['id']}/proof?leaf={'0' * 64}"), "NOT_FOUND")
    for leaf in ("", "leaf=", f"leaf={equal[1:]}", f"leaf={equal[:-1]}g", f"leaf={equal}0"):
        problem(await api.get(f"/polls/{poll['id']}/proof?{leaf}"), "VALIDATION_FAILED", "leaf")
    ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
    for call in ("commitment", "ballots.csv", f"proof?leaf={equal}"):
        problem(await api.get(f"/polls/{poll['id']}/{call}"), "NOT_FOUND")


async def test_the_list_is_for_those_who_see_counts_and_proofs_are_for_all(
    api: Api, owner: Person, guest: Person, server: Server, tmp_path: Path
) -> None:
    poll = await made(api, owner, resultsVisibility="owner")
    receipt = (await api.vote(guest, poll["id"], option_ids(poll)[:1], id=new_id())).fresh()
    await api.close(owner, poll)
    await committed(api, poll)
    problem(await api.get(f"/polls/{poll['id']}/ballots.csv"), "FORBIDDEN")
    problem(await api.get(f"/polls/{poll['id']}/ballots.csv", guest), "FORBIDDEN")
    assert (await api.get(f"/polls/{poll['id']}/ballots.csv", owner)).status_code == 200
    hidden = await checked(server, poll, tmp_path, [receipt])
    assert hidden.returncode == 0 and "hidden the list of ballots" in hidden.stdout, hidden.stdout
    whole = await checked(server, poll, tmp_path, [receipt], "--token", owner.token)
    assert whole.returncode == 0 and "right  the list of ballots has this root" in whole.stdout, whole.stdout
    await api.edit(owner, poll, resultsVisibility="after_close")
    assert (await api.get(f"/polls/{poll['id']}/ballots.csv")).status_code == 200


async def test_the_checkpoint_is_signed_by_the_published_key(api: Api, owner: Person) -> None:
    key = ok(await api.get("/.well-known/pollroom-key"))
    assert set(key) == {"name", "key", "older"} and key["name"] == "pollroom"
    assert verify.parse_key(key["key"])[0] == "pollroom" and key["key"] not in key["older"]
    poll = await made(api, owner)
    await api.close(owner, poll)
    await committed(api, poll)
    document = await document_of(api, poll)
    root = bytes.fromhex(document["root"])
    signed = verify.check_checkpoint(document["checkpoint"], poll["id"], 0, root, [key["key"], *key["older"]])
    assert signed == key["key"]
    assert (await document_of(api, poll)) == document


async def test_another_round_is_verifiable_too_and_other_polls_have_no_commitment(
    api: Api, owner: Person, guest: Person
) -> None:
    poll = await made(api, owner)
    again = ok(await api.post(f"/polls/{poll['id']}/again", None, owner), 201)["poll"]
    assert again["verifiable"] is True and again["commitment"] is None
    plain = await api.poll(owner, guests=True)
    await api.close(owner, plain)
    await api.close(owner, again)
    await committed(api, again)
    assert (await api.state(plain))["poll"]["commitment"] is None
    problem(await api.get(f"/polls/{plain['id']}/commitment"), "NOT_FOUND")
    problem(await api.get("/polls/nothing/commitment"), "NOT_FOUND")
    problem(await api.get(f"/polls/{again['id']}/commitment", "no token"), "UNAUTHENTICATED")
