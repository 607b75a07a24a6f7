"""Deadlocks, lock timeouts, poison, workers that are too many or too slow."""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import aiomysql
import httpx
import msgspec
from pymysql.err import MySQLError

from app.adapters.redis.connection.keys import Keys
from app.adapters.sql.driver import BUSY_SECONDS
from tools.faults.load import Load
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage

WEIGHT = 20_000
"""Rows that the other party of a deadlock has changed: InnoDB lets the lighter one go, which is the worker."""
DEADLOCK, TIMEOUT = 1213, 1205


async def _connect(stage: Stage) -> Any:
    parts = urlsplit(stage.database.url)
    return await aiomysql.connect(
        host=parts.hostname, port=parts.port, user=parts.username, password="", db=parts.path[1:]
    )


async def locks(round: Round) -> None:
    """1213 and 1205 on the worker's batch, by transactions of another party."""
    count = round.times(4, 1000)
    async with round.stage() as stage, AsyncExitStack() as stack:
        await stage.sql("CREATE TABLE IF NOT EXISTS scratch (id INT PRIMARY KEY, n INT NOT NULL)")
        await stage.sql(f"REPLACE INTO scratch SELECT seq, 0 FROM seq_1_to_{WEIGHT}")
        other = await _connect(stage)
        stack.callback(other.close)
        scene, before = Scene(round, stage), _failures(stage)
        turn, letters = 0, await _letters(stage)
        while round.injected < count:
            async with scene.act() as load:
                goal = min(count, round.injected + 150)
                while round.injected < goal and not load.spent:
                    await load.until_answered(5)
                    await (_timeout(other) if turn % 12 == 2 else _deadlock(stage, other, load))
                    turn += 1
                    round.hit(_failures(stage) - before - round.injected)
        if await _letters(stage) != letters:
            round.verdict.wrong.append("dead letters after deadlocks")


async def _letters(stage: Stage) -> int:
    return int((await stage.sql("SELECT COUNT(*) FROM dead_letters"))[0][0])


def _failures(stage: Stage) -> int:
    """As the workers logged them: the driver's own words."""
    text = "".join(worker.log.read_text(errors="replace") for worker in stage.workers)
    return text.count(f"({DEADLOCK},") + text.count(f"({TIMEOUT},")


async def _deadlock(stage: Stage, other: Any, load: Load) -> None:
    """The other party holds a poll's row, which a batch needs at its end, and asks for the batch's offset."""
    poll = load.polls[int(time.monotonic() * 1000) % len(load.polls)].id
    partition = Keys(16).partition(poll)
    await other.begin()
    try:
        async with other.cursor() as cursor:
            await cursor.execute("SELECT id FROM polls WHERE id = %s FOR UPDATE", (poll,))
            await cursor.execute("UPDATE scratch SET n = n + 1")
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                found = await stage.sql(
                    "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
                )
                if found[0][0]:
                    break
            await cursor.execute(
                "SELECT last_id FROM log_offsets WHERE reader = 'sql' AND `partition` = %s FOR UPDATE",
                (partition,),
            )
    except MySQLError:
        pass  # it was this one that was let go
    with suppress(MySQLError):
        await other.rollback()


async def _timeout(other: Any) -> None:
    await other.begin()
    async with other.cursor() as cursor:
        await cursor.execute("SELECT last_id FROM log_offsets WHERE reader = 'sql' FOR UPDATE")
        await asyncio.sleep(BUSY_SECONDS + 0.3)
    await other.rollback()


async def poison(round: Round) -> None:
    """Entries of which SQL can store nothing, in the middle of the others; and an outage, which buries nothing."""
    async with round.stage() as stage, stage.client() as client:
        scene, letters, count = Scene(round, stage), await _letters(stage), round.times(5, 100)
        logs = await stage.sql("SELECT `partition`, generation FROM log_offsets WHERE reader = 'sql'")
        async with scene.act() as load:
            for number in range(count):
                partition, generation = round.dice.choice(logs)
                content = round.dice.choice(
                    [
                        b"\xc1 no msgpack",
                        msgspec.msgpack.encode(
                            ["b", "nobody", "v" * 300, 1, "x", False, ["o"], 1, 1, True, []]
                        ),
                    ]
                )
                await client.xadd(Keys(16).log(partition, generation), {"e": content})
                round.hit()
                await load.until_answered(5)
                if number % 10 == 0:
                    stage.database.process.send_signal(signal.SIGSTOP)
                    await load.until_answered(50)
                    stage.database.process.send_signal(signal.SIGCONT)
        letters = await _letters(stage) - letters
        if letters != count:
            round.verdict.wrong.append(f"{letters} dead letters of {count} poison entries")


async def workers(round: Round) -> None:
    """Two workers on one partition by mistake, and workers that stand still: nothing is trimmed that SQL lacks."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        async with scene.act() as load:
            for _ in range(round.times(10, 200)):
                if load.spent:
                    break
                # Leases change hands, and nobody is told: both read until they renew.
                await stage.sql(
                    "UPDATE log_offsets a JOIN log_offsets b ON b.reader = a.reader AND b.`partition` = (a.`partition` + 1) % 16"
                    " SET a.lease_owner = b.lease_owner, a.lease_until = b.lease_until WHERE a.reader = 'sql'"
                )
                round.hit()
                await load.until_answered(20)
        for _ in range(round.times(1, 10)):
            async with scene.act() as load:
                await _stalled(round, stage, load)
                round.hit()


async def _stalled(round: Round, stage: Stage, load: Load) -> None:
    async with stage.client() as client:
        await load.rest()  # else what is answered from now on may be stored already
        for worker in stage.workers:
            os.kill(worker.pid, signal.SIGSTOP)
        offsets = await stage.sql(
            "SELECT `partition`, generation, last_id FROM log_offsets WHERE reader = 'sql'"
        )
        load.resume()
        await load.until_answered(300)
        waiting = 0
        for partition, generation, at in offsets:
            fence = await client.hget(Keys(16).fence(partition), "trimmed")
            if fence and _order(fence.decode()) > _order(at):
                round.verdict.wrong.append(
                    f"p{partition:02d} was trimmed to {fence.decode()}, SQL is at {at}"
                )
            waiting += len(await client.xrange(Keys(16).log(partition, generation), min=f"({at}"))
        if waiting < 300:
            round.verdict.wrong.append(
                f"{waiting} entries wait, where 300 were acknowledged and none is stored"
            )
        async with httpx.AsyncClient(trust_env=False) as http:
            said = (await http.get(f"{stage.bases[0]}/readyz")).json()
        round.notes[:] = [f"readyz while {waiting} entries waited: {said['checks']['redis']['detail']}"]
        for worker in stage.workers:
            os.kill(worker.pid, signal.SIGCONT)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
