"""Moves of a deck, and pauses, killed before and after each message that they send: finished by themselves, or not begun."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx

from tools.faults.gate import Fate, Rule
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage
from tools.faults.steps import Gates, gated, kill_web
from tools.harness.shapes import Memory
from tools.harness.websocket import Socket, socket

FINISHED_SECONDS = 5.0
"""The contract's limit."""
RATE = 150


@dataclass(frozen=True)
class Step:
    """``where``: a script of the ledger, or words of what is sent. ``nth``: at which of them. ``after``: its answer is lost."""

    where: str
    nth: int
    after: bool


def both(where: str, nth: int = 1) -> tuple[Step, Step]:
    return Step(where, nth, False), Step(where, nth, True)


MOVE = (
    *both("COMMIT"),  # the row moves
    *both("close"),
    *both("lease"),
    *both("COMMIT", 2),  # the rules of the new poll
    *both("install_rules"),
    *both("SET moving_since = NULL"),
    *both("feed:decks"),
)
PAUSE = (*both("lease"), *both("COMMIT"), *both("install_rules"))
TIMES = (1, 10)


class Host:
    """Calls of the owner over one instance. ``ask`` goes on until the outcome is known."""

    def __init__(self, base: str, token: str, http: httpx.AsyncClient) -> None:
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = http

    async def send(self, path: str, body: Any = None, *, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else self._headers
        return await self._http.post(self._base + path, json=body, headers=headers)

    async def ask(self, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        async with asyncio.timeout(30):
            while True:
                with suppress(httpx.TransportError):
                    answer = await self.send(path, body, token=token)
                    if answer.status_code < 500:
                        return answer.status_code, answer.json()
                await asyncio.sleep(0.1)

    async def made(self, path: str, body: Any) -> Any:
        status, answer = await self.ask(path, body)
        assert status == 201, answer
        (found,) = answer.values()
        return found

    async def status(self, poll: Any) -> str:
        answer = await self._http.get(f"{self._base}/polls/{poll['id']}", headers=self._headers)
        return str(answer.json()["poll"]["status"]) if answer.status_code == 200 else answer.text

    async def vote(self, poll: Any, token: str, id: str) -> str:
        """The code, or ok."""
        body = {"optionId": poll["options"][0]["id"], "id": id}
        status, answer = await self.ask(f"/polls/{poll['id']}/votes", body, token=token)
        return "ok" if status < 300 else str(answer["code"])


@asynccontextmanager
async def _hosts(stage: Stage) -> AsyncIterator[list[Host]]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        yield [Host(base, stage.owner, http) for base in stage.bases]


async def _killed(stage: Stage, gates: Gates, step: Step, send: Callable[[], Awaitable[Any]]) -> None:
    wanted = gates.digests.get(step.where) or step.where.encode()
    held = gates.redis if step.where in gates.digests or step.where == "feed:decks" else gates.sql
    seen = 0

    def rule(data: bytes) -> Fate:
        nonlocal seen
        if wanted not in data:
            return Fate.PASS
        seen += 1
        return Fate.HOLD if seen >= step.nth else Fate.PASS

    async def call() -> None:
        with suppress(httpx.TransportError):
            await send()

    checked: Rule = rule
    await kill_web(stage, held, checked, step.after, call())


async def moved(round: Round) -> None:
    async with round.stage() as stage, gated(stage) as gates:
        scene, count = Scene(round, stage), TIMES[round.full]
        round.times(len(MOVE) * count, len(MOVE) * count)
        for _ in range(count):
            async with scene.act(rate=RATE) as load, _hosts(stage) as hosts:
                for step in MOVE:
                    await _one_move(round, stage, gates, step, hosts)
                    round.hit()
                    await load.until_answered(10)


async def _deck(host: Host, count: int) -> tuple[Any, list[Any]]:
    body = {"question": "Q?", "options": ["A", "B"], "guests": True, "draft": True}
    polls = [await host.made("/polls", body) for _ in range(count)]
    return await host.made("/decks", {"title": "D", "pollIds": [poll["id"] for poll in polls]}), polls


async def _one_move(round: Round, stage: Stage, gates: Gates, step: Step, hosts: list[Host]) -> None:
    wrong = round.verdict.wrong
    deck, (old, new) = await _deck(hosts[1], 2)
    path = f"/decks/{deck['id']}/current"
    where = f"a move killed {'after' if step.after else 'before'} {step.where} {step.nth}, {deck['id']}"
    await hosts[1].ask(path, {"pollId": old["id"]})
    voter, late = stage.voters[0], stage.voters[1]
    await hosts[1].vote(old, voter.token, "first")
    async with socket(SimpleNamespace(memory=Memory()), base=stage.bases[1]) as sock:  # type: ignore[arg-type]
        await sock.join_deck(deck)
        await _killed(stage, gates, step, lambda: hosts[0].send(path, {"pollId": new["id"]}))
        began = time.monotonic()
        if step == MOVE[0]:
            if (status := await hosts[1].status(old)) != "open":
                wrong.append(f"{where}: not begun, and the old poll is {status}")
            await hosts[1].ask(path, {"pollId": new["id"]})
        try:
            await sock.expect("DECK_CHANGED", FINISHED_SECONDS, poll={"id": new["id"], "status": "open"})
        except AssertionError as error:
            wrong.append(f"{where}: not shown after {time.monotonic() - began:.1f} s: {error}")
            return
        found = [await hosts[1].status(poll) for poll in (old, new)]
        codes = [await hosts[1].vote(old, late.token, "late"), await hosts[1].vote(new, late.token, "new")]
        if (found, codes) != (["closed", "open"], ["POLL_CLOSED", "ok"]):
            wrong.append(f"{where}: polls are {found}, votes get {codes}")
    await stage.healed()
    again = await hosts[0].ask(path, {"pollId": new["id"]})
    if again[0] != 200 or again[1]["deck"]["currentPollId"] != new["id"]:
        wrong.append(f"{where}: asked again, the answer is {again}")


async def lost(round: Round) -> None:
    """Pub/sub is killed at the moment of the move."""
    async with round.stage() as stage, stage.client() as client:
        scene, count = Scene(round, stage), round.times(10, 200)
        async with scene.act(rate=RATE), _hosts(stage) as hosts:
            deck, polls = await _deck(hosts[0], 4)
            async with _sockets(stage, deck) as socks:
                for number in range(count):
                    poll, marks = polls[number % len(polls)], [sock.mark() for sock in socks]
                    body = {"pollId": poll["id"]}
                    killing = client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    await asyncio.gather(killing, hosts[number % 2].ask(f"/decks/{deck['id']}/current", body))
                    round.hit()
                    for sock, mark in zip(socks, marks, strict=True):
                        await _shows(round, sock, mark, poll)


@asynccontextmanager
async def _sockets(stage: Stage, deck: Any) -> AsyncIterator[list[Socket]]:
    """One on each instance. A version that goes back fails at the end."""
    server: Any = SimpleNamespace(memory=Memory())
    async with socket(server, base=stage.bases[0]) as one, socket(server, base=stage.bases[1]) as two:
        for sock in (one, two):
            await sock.join_deck(deck)
        yield [one, two]


async def _shows(round: Round, sock: Socket, mark: int, poll: Any) -> None:
    def found() -> Any:
        return [
            f for f in sock.since(mark, "DECK_CHANGED") if f["deck"]["currentPollId"] == poll["id"]
        ] or None

    try:
        await sock.until(found, "the move", FINISHED_SECONDS)
    except AssertionError as error:
        round.verdict.wrong.append(f"a move is not shown after {FINISHED_SECONDS} s: {error}")


async def paused(round: Round) -> None:
    async with round.stage() as stage, gated(stage) as gates:
        scene, count = Scene(round, stage), TIMES[round.full]
        round.times(len(PAUSE) * count, len(PAUSE) * count)
        for _ in range(count):
            async with scene.act(rate=RATE) as load, _hosts(stage) as hosts:
                for step in PAUSE:
                    await _one_pause(round, stage, gates, step, hosts)
                    round.hit()
                    await load.until_answered(10)


async def _one_pause(round: Round, stage: Stage, gates: Gates, step: Step, hosts: list[Host]) -> None:
    wrong = round.verdict.wrong
    poll = await hosts[1].made("/polls", {"question": "Q?", "options": ["A", "B"], "guests": True})
    where = f"a pause killed {'after' if step.after else 'before'} {step.where}, {poll['id']}"
    one, two, three = (voter.token for voter in stage.voters[:3])
    await hosts[1].vote(poll, one, "before")
    await _killed(stage, gates, step, lambda: hosts[0].send(f"/polls/{poll['id']}/pause"))
    code = await hosts[1].vote(poll, two, "meanwhile")
    committed = step.where == "install_rules" or (step.where == "COMMIT" and step.after)
    if committed != (code == "POLL_PAUSED"):
        wrong.append(f"{where}: a vote was answered {code}")
    for call, wanted in (("pause", ["POLL_PAUSED", "ok"]), ("resume", ["ok", "ok"])):
        status, answer = await hosts[1].ask(f"/polls/{poll['id']}/{call}")
        codes = [await hosts[1].vote(poll, three, "after"), await hosts[1].vote(poll, one, "before")]
        if status != 200 or answer["poll"]["paused"] is not (call == "pause") or codes != wanted:
            wrong.append(f"{where}: /{call} answers {status}, then votes get {codes}")
    await stage.healed()
