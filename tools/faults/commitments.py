"""The commitment of a verifiable poll: workers killed at each step of it, SQL and Redis put back to before it.

Whatever happens, all receipts verify by ``scripts/verify``, and what was seen once never changes.
"""

import asyncio
import json
import secrets
import shutil
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.scripts import Scripts
from tools.faults.gate import Fate, Rule, gate, passing
from tools.faults.load import People, Poll
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage, up
from tools.faults.steps import kill_workers
from tools.harness.process import ROOT
from tools.servers import MariaDB, RedisServer

VOTERS = 12
COMMIT_SECONDS = 40.0
"""Partitions of killed workers are read again once their leases have run out."""


@dataclass(frozen=True)
class Step:
    """``where``: in a statement of SQL, or a script of the ledger. ``after``: its answer is lost with the worker."""

    where: bytes
    after: bool


FINISH, COMMIT = b"UPDATE commitments SET build", b"COMMIT"
WHERE = (
    b"JSON_ARRAY(voter_id, ballot_id, choices)",
    b"INSERT INTO commitment_chunks",
    b"INSERT INTO commitment_keys",
    FINISH,
    COMMIT,
    b"publish_commitment",
    b"UPDATE commitments SET published_at",
)
STEPS = tuple(Step(where, after) for where in WHERE for after in (False, True))
SHORT = (STEPS[9], STEPS[11])


async def killed(round: Round) -> None:
    async with round.stage() as stage, AsyncExitStack() as stack, connect(stage.redis.url) as client:
        scripts = Scripts(client)
        await scripts.load("{p00}:fence")
        digest = scripts.digests["publish_commitment"].encode()
        sql = await stack.enter_async_context(gate(stage.database.port))
        redis = await stack.enter_async_context(gate(stage.redis.port))
        for number in range(2):
            stage.worker[number] = {
                "DATABASE_URL": stage.database.url.replace(f":{stage.database.port}/", f":{sql.port}/"),
                "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            }
        await stage.restart()
        scene = Scene(round, stage)
        steps = STEPS * 2 if round.full else SHORT
        round.times(len(steps), len(steps))
        for start in range(0, len(steps), len(STEPS)):
            async with scene.act(rate=100) as load:
                for step in steps[start : start + len(STEPS)]:
                    poll, receipts = await _voted(stage)
                    held = redis if step.where == b"publish_commitment" else sql
                    rule = _rule(digest if held is redis else step.where)
                    held.arm(request=passing if step.after else rule, reply=rule if step.after else passing)
                    await _close(stage, poll)
                    await kill_workers(stage, held, COMMIT_SECONDS)
                    where = f"killed {'after' if step.after else 'before'} {step.where.decode()}"
                    await _check(round, stage, poll, receipts, where)
                    round.hit()
                    await load.until_answered(5)


def _rule(wanted: bytes) -> Rule:
    """Of COMMIT, only that of the transaction that finishes a commitment."""
    finishing = False

    def rule(data: bytes) -> Fate:
        nonlocal finishing
        finishing = finishing or FINISH in data
        if wanted == COMMIT and not finishing:
            return Fate.PASS
        return Fate.HOLD if wanted in data else Fate.PASS

    return rule


@dataclass(frozen=True)
class Older:
    """Which store is put back, and to when."""

    store: str
    to: str


OLDER = (
    Older("Redis", "before the close"),
    Older("Redis", "before the commitment"),
    Older("Redis", "nothing"),
    Older("SQL", "before the close"),
    Older("SQL", "before the commitment"),
)


async def older(round: Round) -> None:
    """SQL and Redis, each put back to an earlier copy of its files after a commitment was published."""
    cases = OLDER * 2 if round.full else (OLDER[1], OLDER[3])
    round.times(len(cases), len(cases))
    async with round.stage() as stage, AsyncExitStack() as stack:
        sql = await stack.enter_async_context(gate(stage.database.port))
        for number in range(2):
            stage.worker[number] = {
                "DATABASE_URL": stage.database.url.replace(f":{stage.database.port}/", f":{sql.port}/")
            }
        await stage.restart()
        scene = Scene(round, stage)
        await scene.polls(0)
        for case in cases:
            poll, receipts = await _voted(stage)
            store = stage.redis if case.store == "Redis" else stage.database
            await _stored(stage)
            copy = None
            if case.to == "before the close":
                copy = await _copied(stage, store)
            if case.to == "before the commitment":
                sql.arm(request=_rule(FINISH))
                await _close(stage, poll)
                async with asyncio.timeout(COMMIT_SECONDS):
                    await sql.held.wait()
                copy = await _copied(stage, store)
                await sql.close()
                sql.release()
            else:
                await _close(stage, poll)
            where = f"{case.store} put back to {case.to}"
            before = await _check(round, stage, poll, receipts, f"before {where}")
            await _stored(stage)
            await _put_back(stage, store, copy)
            after = await _check(round, stage, poll, receipts, where)
            if before != after:
                round.verdict.wrong.append(f"{where}: the commitment was {before}, and is {after}")
            await _stored(stage)
            round.hit()
        round.verdict.wrong += stage.traces()


async def _copied(stage: Stage, store: RedisServer | MariaDB) -> Path:
    """As a power cut would leave it, with every process still running."""
    copy = store.folder.with_name(f"{store.folder.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    store.kill()
    shutil.copytree(store.folder, copy, ignore=shutil.ignore_patterns("socket", "pid", "*.log"))
    await up(store)
    await stage.healed()
    return copy


async def _put_back(stage: Stage, store: RedisServer | MariaDB, copy: Path | None) -> None:
    """None: to an empty folder. After SQL, the processes are restarted, as the documentation says."""
    store.kill()
    for path in store.folder.iterdir():
        if path.name == "server.log":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if copy is not None:
        shutil.copytree(copy, store.folder, dirs_exist_ok=True)
    await up(store)
    await (stage.restart() if store is stage.database else stage.healed())


async def _voted(stage: Stage) -> tuple[Poll, list[Any]]:
    """A new verifiable poll, and the receipts of the ballots that stand. Some were changed before, one was retracted."""
    async with People(stage.bases[0]) as people:
        (poll,) = await people.polls(stage.owner, 1, verifiable=True, allowChange=True)
    receipts = []
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        for number, voter in enumerate(stage.voters[:VOTERS]):
            headers = {"Authorization": f"Bearer {voter.token}"}
            url = f"{stage.bases[number % 2]}/polls/{poll.id}/votes"
            for turn in range(1 + number % 2):
                body = {
                    "optionIds": [poll.options[(number + turn) % 4]],
                    "id": secrets.token_urlsafe(17)[:22],
                }
                answer = await http.post(url, json=body, headers=headers)
                answer.raise_for_status()
            if number == 0:
                (await http.delete(f"{url}/mine", headers=headers)).raise_for_status()
            else:
                receipts.append(answer.json())
    return poll, receipts


async def _close(stage: Stage, poll: Poll) -> None:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {stage.owner}"}
        (await http.post(f"{stage.bases[0]}/polls/{poll.id}/close", headers=headers)).raise_for_status()


async def _stored(stage: Stage) -> None:
    """Until SQL has every entry of the log."""
    equal, said = await stage.recount()
    if not equal:
        raise AssertionError(said[-1500:])


async def _check(round: Round, stage: Stage, poll: Poll, receipts: list[Any], where: str) -> Any:
    """Both instances show the same commitment, with which every receipt verifies; what they show."""
    shown = [await _commitment(base, poll) for base in stage.bases]
    wrong = round.verdict.wrong
    if shown[0] is None or shown[0] != shown[1]:
        wrong.append(f"{where}: the instances show {shown[0]} and {shown[1]}")
        return shown[0]
    file = stage.folder / "receipts.json"
    file.write_text(json.dumps(receipts))
    for base in stage.bases:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            ROOT / "scripts" / "verify",
            f"{base}/polls/{poll.id}",
            "--receipts",
            file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            wrong.append(f"{where}: {said.decode()[-1500:]}")
    left = await stage.sql(
        "SELECT COUNT(*) FROM commitment_chunks c JOIN commitments m ON m.poll_id = c.poll_id AND m.build <> c.build"
    )
    if left[0][0]:
        wrong.append(f"{where}: {left[0][0]} rows of trees that were not finished remain")
    return shown[0]


async def _commitment(base: str, poll: Poll) -> Any:
    end = asyncio.get_running_loop().time() + COMMIT_SECONDS
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        while asyncio.get_running_loop().time() < end:
            with suppress(httpx.TransportError):
                answer = await http.get(f"{base}/polls/{poll.id}/commitment")
                if answer.status_code == 200:
                    return answer.json()
            await asyncio.sleep(0.1)
    return None
