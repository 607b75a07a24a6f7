"""An edit, a close, a deletion killed before and after each message that they send: the poll heals by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.scripts import Scripts
from tools.faults.gate import Fate, Gate, Rule, gate, passing
from tools.faults.load import People, Poll, Voter
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage

HEAL_SECONDS = 15.0
COMMIT = b"COMMIT"


@dataclass(frozen=True)
class Step:
    """``where``: a script of the ledger, or COMMIT. ``after``: it was executed, and its answer is lost with the process."""

    call: str
    where: str
    after: bool


STEPS = (
    Step("edit", "lease", False),
    Step("edit", "lease", True),
    Step("edit", "COMMIT", False),
    Step("edit", "COMMIT", True),
    Step("edit", "install_rules", False),
    Step("edit", "install_rules", True),
    Step("close", "close", False),
    Step("close", "close", True),
    Step("delete", "delete", False),
    Step("delete", "delete", True),
    Step("close", "stored", False),
    Step("close", "stored", True),
    Step("delete", "stored", False),
    Step("delete", "stored", True),
)
SHORT = (STEPS[1], STEPS[3], STEPS[7], STEPS[12])


@dataclass
class Gates:
    """Before web process 0, and before both workers."""

    redis: Gate
    sql: Gate
    stored: Gate
    digests: dict[str, bytes]


@asynccontextmanager
async def gated(stage: Stage) -> AsyncIterator[Gates]:
    """The processes anew, behind gates."""
    async with AsyncExitStack() as stack, connect(stage.redis.url) as client:
        scripts = Scripts(client)
        await scripts.load("{p00}:fence")
        gates = Gates(
            await stack.enter_async_context(gate(stage.redis.port)),
            await stack.enter_async_context(gate(stage.database.port)),
            await stack.enter_async_context(gate(stage.database.port)),
            {name: digest.encode() for name, digest in scripts.digests.items()},
        )
        url = stage.database.url
        port = f":{stage.database.port}/"
        stage.web[0] = {
            "REDIS_URL": f"redis://127.0.0.1:{gates.redis.port}/0",
            "DATABASE_URL": url.replace(port, f":{gates.sql.port}/"),
        }
        for number in range(2):
            stage.worker[number] = {"DATABASE_URL": url.replace(port, f":{gates.stored.port}/")}
        await stage.restart()
        yield gates


async def run(round: Round) -> None:
    async with round.stage() as stage, gated(stage) as gates:
        scene = Scene(round, stage)
        steps = STEPS * 10 if round.full else SHORT
        round.times(len(steps), len(steps))
        for start in range(0, len(steps), len(STEPS)):
            async with scene.act(rate=150) as load, httpx.AsyncClient(timeout=20, trust_env=False) as http:
                for step in steps[start : start + len(STEPS)]:
                    async with People(stage.bases[1]) as people:
                        (poll,) = await people.polls(stage.owner, 1)
                    if step.call != "edit":
                        await _vote(stage, http, poll, poll.options[0])
                    await _killed(stage, gates, step, poll)
                    await _heals(round, stage, http, step, poll)
                    round.hit()
                    await load.until_answered(10)


async def _killed(stage: Stage, gates: Gates, step: Step, poll: Poll) -> None:
    """Send the call to process 0 and kill it at the step."""
    if step.where == "stored":
        held, wanted = gates.stored, COMMIT
    elif step.where == "COMMIT":
        held, wanted = gates.sql, COMMIT
    else:
        held, wanted = gates.redis, gates.digests[step.where]

    def rule(data: bytes) -> Fate:
        return Fate.HOLD if wanted in data else Fate.PASS

    async def call() -> None:
        with suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
                await _call(http, stage.bases[0], stage.owner, step.call, poll)

    if step.where != "stored":
        await kill_web(stage, held, rule, step.after, call())
        return
    await call()
    rules: tuple[Rule, Rule] = (passing, rule) if step.after else (rule, passing)
    held.arm(request=rules[0], reply=rules[1])
    await kill_workers(stage, held, 30)


async def kill_workers(stage: Stage, held: Gate, seconds: float) -> None:
    """Kill both workers once what one of them sends waits at the gate, at most ``seconds``; start them again."""
    async with asyncio.timeout(seconds):
        await held.held.wait()
    for worker in stage.workers:
        worker.kill_leader()
    await held.close()  # what waits in it is lost with its sender
    held.release()
    for number in range(2):
        stage.start_worker(number)


async def kill_web(
    stage: Stage, held: Gate, rule: Rule, after: bool, call: Coroutine[Any, Any, None]
) -> None:
    """Kill process 0 when what ``call`` makes it send, or the answer, waits at the gate by ``rule``; start it again."""
    held.arm(request=passing if after else rule, reply=rule if after else passing)
    calling = asyncio.create_task(call)
    async with asyncio.timeout(30):
        await held.held.wait()
    stage.webs[0].kill_leader()
    await held.close()  # what waits in it is lost with its sender
    held.release()
    await calling
    stage.start_web(0)


async def _call(http: httpx.AsyncClient, base: str, token: str, call: str, poll: Poll) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    if call == "edit":
        ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        edit = {"question": "Another?", "options": ["W", "X", "Y"], "closesAt": ends}
        return await http.patch(f"{base}/polls/{poll.id}", json=edit, headers=headers)
    if call == "close":
        return await http.post(f"{base}/polls/{poll.id}/close", headers=headers)
    return await http.delete(f"{base}/polls/{poll.id}", headers=headers)


async def _vote(
    stage: Stage, http: httpx.AsyncClient, poll: Poll, option: str, voter: Voter | None = None
) -> str:
    """The code, or ok."""
    body = {"optionId": option, "id": f"v-{option}"}
    headers = {"Authorization": f"Bearer {(voter or stage.voters[0]).token}"}
    answer = await http.post(f"{stage.bases[1]}/polls/{poll.id}/votes", json=body, headers=headers)
    return "ok" if answer.status_code < 300 else str(answer.json()["code"])


async def _heals(round: Round, stage: Stage, http: httpx.AsyncClient, step: Step, poll: Poll) -> None:
    """By itself, as voters and readers of the other process find it; then the same for all, and for good."""
    wrong = round.verdict.wrong
    began = time.monotonic()
    where = f"{step.call} killed {'after' if step.after else 'before'} {step.where}, {poll.id}"
    code = "UNAVAILABLE"
    while code == "UNAVAILABLE" and time.monotonic() - began < HEAL_SECONDS:
        code = await _vote(stage, http, poll, poll.options[1], stage.voters[1])
    if code == "UNAVAILABLE":
        wrong.append(f"{where}: no vote is taken after {HEAL_SECONDS} s")
    await stage.healed()
    seen = [await _seen(http, base, poll) for base in stage.bases]
    again = [await _seen(http, base, poll) for base in stage.bases]
    if any(one != seen[0] for one in [*seen, *again]):
        wrong.append(f"{where}: seen are {seen}, then {again}")
    if step.call == "edit":
        old = ("Question 0?", ("A", "B", "C", "D"), False)
        new = ("Another?", ("W", "X", "Y"), True)
        shown = seen[0][:3] if seen[0] else None
        if shown not in (old, new):
            wrong.append(f"{where}: rules are mixed, {shown}")
        if (code == "ok") != (shown == old):
            wrong.append(f"{where}: a vote by the old rules was answered {code}, shown are {shown}")
        if step.where == "install_rules" and shown != new:
            wrong.append(f"{where}: committed, and shown is {shown}")
    else:
        await _finished(wrong, where, stage, http, step, poll, seen[0], code)


async def _finished(
    wrong: list[str],
    where: str,
    stage: Stage,
    http: httpx.AsyncClient,
    step: Step,
    poll: Poll,
    seen: Any,
    code: str,
) -> None:
    """What was executed stands; what was not succeeds when it is asked for again."""
    if (step.after or step.where == "stored") and code not in ("POLL_CLOSED", "NOT_FOUND"):
        wrong.append(f"{where}: executed, and a vote was answered {code}")
    answer = await _call(http, stage.bases[1], stage.owner, step.call, poll)
    if answer.status_code >= 300 and answer.status_code != 404:
        wrong.append(f"{where}: asked again, the answer is {answer.text}")
    if step.call == "delete":
        if await _seen(http, stage.bases[0], poll) is not None:
            wrong.append(f"{where}: still there")
    elif (await _seen(http, stage.bases[0], poll) or [None] * 4)[3] != "closed":
        wrong.append(f"{where}: not closed, {seen}")


async def _seen(http: httpx.AsyncClient, base: str, poll: Poll) -> tuple[Any, ...] | None:
    """Question, labels, whether it has an end, status, epoch, seq and voters; none where it is not found."""
    for _ in range(40):
        answer = await http.get(f"{base}/polls/{poll.id}")
        if answer.status_code == 404:
            return None
        if answer.status_code == 200:
            body = answer.json()
            one, tally = body["poll"], body["tally"]
            labels = tuple(option["label"] for option in one["options"])
            ends = one["closesAt"] is not None
            return one["question"], labels, ends, one["status"], tally["epoch"], tally["seq"], tally["voters"]
        await asyncio.sleep(0.25)
    raise AssertionError(f"{base} does not show {poll.id}: {answer.text}")
