"""Redis paused, restarted at bad moments, without its scripts, or without its data."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from pymysql.err import MySQLError

from app.adapters.redis.connection.keys import Keys
from tools.faults.journal import Outcome
from tools.faults.load import Load
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage, up

LOAD_SECONDS = 15.0


async def paused(round: Round) -> None:
    async with round.stage() as stage:
        scene = Scene(round, stage)
        for seconds in (5,) * round.times(1, 4) + (60,) * round.times(0, 1):
            async with scene.act() as load:
                stage.redis.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                stage.redis.process.send_signal(signal.SIGCONT)
                round.hit()
                await load.until_answered(100)


async def restarted(round: Round) -> None:
    """Again while the partitions are verified: between the comparison and the fence, now and then."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        async with scene.act() as load:
            for _ in range(round.times(5, 60)):
                for _ in range(3):
                    stage.redis.kill()
                    await up(stage.redis)
                    await asyncio.sleep(round.dice.uniform(0, 0.15))
                round.hit()
                await load.until_answered(20)


async def forgotten(round: Round) -> None:
    async with round.stage() as stage, stage.client() as client:
        scene = Scene(round, stage)
        async with scene.act() as load:
            for _ in range(round.times(20, 300)):
                await client.script_flush()
                round.hit()
                await load.until_answered(10)


async def flushed(round: Round) -> None:
    await _emptied(round, _flush)


async def replaced(round: Round) -> None:
    await _emptied(round, _empty_restart)


Empty = Callable[[Stage, Load], Awaitable[set[tuple[str, str, str]]]]


async def _emptied(round: Round, empty: Empty) -> None:
    """First with the log drained, then under load."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        for drained in (True, False):
            for _ in range(round.times(1, 10)):
                gone: set[tuple[str, str, str]] = set()

                async def foretell(load: Load, gone: set[tuple[str, str, str]] = gone) -> None:
                    _foretell(round, load, gone)

                async with scene.act(before_check=foretell) as load:
                    await load.until_answered(150)
                    if drained:
                        await load.rest()
                        await stage.recount()
                    gone |= await empty(stage, load)
                    round.hit()
                    load.resume()
                    await load.until_answered(100, 90)
                    if drained and gone:
                        round.verdict.wrong.append(f"{len(gone)} entries were not stored, though drained")


def _foretell(round: Round, load: Load, gone: set[tuple[str, str, str]]) -> None:
    """What was acknowledged and is known to have been in the emptied log alone; sent again later, it is there anew."""
    for poll, voter, id in gone:
        for op in load.journal.of(poll, voter):
            if op.id == id and op.outcome is Outcome.OK:
                op.outcome = Outcome.GONE
            elif op.id == id and op.outcome is not Outcome.REFUSED:
                op.outcome = Outcome.LOST


def _unstored(
    stored: dict[int, str], entries: dict[int, list[tuple[bytes, dict[bytes, bytes]]]]
) -> set[tuple[str, str, str]]:
    """``stored``: up to where, before the log was emptied: afterwards the offsets are soon those of a new generation."""
    found = set()
    for partition, at in stored.items():
        for id, fields in entries[partition]:
            if _order(id.decode()) > _order(at):
                entry = msgspec.msgpack.decode(fields[b"e"])
                if entry[0] == "b":
                    found.add((entry[1], entry[2], entry[4]))
    return found


async def _stored(stage: Stage) -> dict[int, str]:
    """Partition -> the last entry that SQL has. No worker moves it: none is there."""
    return dict(await stage.sql("SELECT `partition`, last_id FROM log_offsets WHERE reader = 'sql'"))


async def _read(stage: Stage, *, flush: bool) -> dict[int, list[tuple[bytes, dict[bytes, bytes]]]]:
    """All logs as they are, at one moment with the emptying."""
    generations = dict(
        await stage.sql("SELECT `partition`, generation FROM log_offsets WHERE reader = 'sql'")
    )
    async with stage.client() as client:
        pipe = client.pipeline(transaction=True)
        for partition in range(16):
            pipe.xrange(Keys(16).log(partition, generations[partition]))
        if flush:
            pipe.flushall()
        found = await pipe.execute()
    return dict(enumerate(found[:16]))


async def _still(stage: Stage) -> None:
    """The workers are gone with what they had read, and what SQL has is known."""
    for worker in stage.workers:
        worker.kill_leader()
    while (await stage.sql("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_rows_modified > 0"))[
        0
    ][0]:
        await _kill_transactions(stage)


async def _kill_transactions(stage: Stage) -> None:
    for (thread,) in await stage.sql("SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"):
        with suppress(MySQLError):  # it has ended by itself
            await stage.sql(f"KILL {thread}")
    await asyncio.sleep(0.2)  # who asks again within 0.1 s is shown what was there before


def _go_on(stage: Stage) -> None:
    for number in range(2):
        stage.start_worker(number)


async def _flush(stage: Stage, load: Load) -> set[tuple[str, str, str]]:
    await _still(stage)
    await load.until_answered(0 if load.resting else 100)
    stored = await _stored(stage)
    gone = _unstored(stored, await _read(stage, flush=True))
    _go_on(stage)
    return gone


async def _empty_restart(stage: Stage, load: Load) -> set[tuple[str, str, str]]:
    await _still(stage)
    await load.until_answered(0 if load.resting else 100)
    # Nothing may come between the reading and the end: whoever votes is stopped, too.
    for web in stage.webs:
        os.kill(web.pid, signal.SIGSTOP)
    stored = await _stored(stage)
    gone = _unstored(stored, await _read(stage, flush=False))
    stage.redis.kill()
    for path in (stage.redis.folder / "appendonlydir").glob("*"):
        path.unlink()
    stage.redis.spawn()
    for web in stage.webs:
        os.kill(web.pid, signal.SIGCONT)
    await up(stage.redis, spawned=True)
    _go_on(stage)
    return gone


async def loading(round: Round) -> None:
    """A large poll comes back in time, while the others go on; nobody votes in it before it is whole."""
    round.times(1, 1)
    count = 1_000_000 if round.full else 50_000
    async with round.stage() as stage, stage.client() as client:
        scene = Scene(round, stage)
        (large,) = await scene.polls(1)
        for start in range(0, count, 50_000):
            await stage.sql(
                "INSERT INTO ballots (poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier)"
                f" SELECT %s, CONCAT('V', seq), 1, 'one', ELT(1 + seq %% 4, %s, %s, %s, %s), seq + 1, 1, 1, 1, '[]'"
                f" FROM seq_{start + 1}_to_{start + 50_000}",
                large.id,
                *large.options,
            )
        await stage.sql("UPDATE polls SET seq = %s WHERE id = %s", count + 2, large.id)
        async with scene.act(rate=100) as load:
            await load.rest()
            await stage.recount()
            await client.flushall()
            load.resume()
            before, began = load.answered, time.monotonic()
            shown = (await stage.tallies([large.id]))[0]
            seconds = time.monotonic() - began
            round.hit()
            round.notes.append(
                f"{count:,} ballots loaded in {seconds:.1f} s, {load.answered - before} votes in other polls meanwhile"
            )
            if shown.voters != count:
                round.verdict.drifted.append(f"{shown.voters} of {count} after loading")
            if seconds > LOAD_SECONDS:
                round.verdict.wrong.append(f"loading took {seconds:.1f} s")
            if load.answered - before < 10:
                round.verdict.wrong.append("nothing else went on meanwhile")


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
