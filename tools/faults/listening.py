"""Pub/sub that is cut or goes silent, and clocks that are wrong."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx

from tools.faults.journal import Outcome
from tools.faults.load import Load, to_ms
from tools.faults.scene import NotInjected, Round, Scene
from tools.faults.stage import Stage
from tools.harness.network import proxy, shifted
from tools.servers import Missing

NOTICED_SECONDS = 5.0
FRESH_SECONDS = 2.0
SHIFTS = ("+30d", "-7m", "-30d", "+7m")


async def cut(round: Round) -> None:
    async with round.stage() as stage, stage.client() as client:
        scene = Scene(round, stage)
        count = round.times(3, 100)
        for start in range(0, count, 20):
            async with scene.act() as load:
                for _ in range(min(20, count - start)):
                    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    round.hit()
                    await _heard(round, scene, load, time.monotonic() + NOTICED_SECONDS)
                    await load.until_answered(20)


async def half_open(round: Round) -> None:
    """The connection stands, and nothing passes: only the absence of an answer tells."""
    async with round.stage() as stage, AsyncExitStack() as stack:
        between = await stack.enter_async_context(proxy(stage.redis))
        for number in range(2):
            stage.web[number] = {"REDIS_URL": between.url}
        await stage.restart()
        scene = Scene(round, stage)
        count = round.times(1, 20)
        for start in range(0, count, 10):
            async with scene.act() as load:
                for _ in range(min(10, count - start)):
                    between.silence()
                    round.hit()
                    for base in stage.bases:
                        await _deaf(round, base)
                    between.speak()
                    await _heard(round, scene, load, time.monotonic() + NOTICED_SECONDS)


async def _deaf(round: Round, base: str) -> None:
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        end = time.monotonic() + NOTICED_SECONDS + 0.5
        while time.monotonic() < end:
            answer = await http.get(f"{base}/readyz")
            if (answer.status_code, answer.json()["status"]) == (503, "deaf"):
                return
            await asyncio.sleep(0.05)
    round.verdict.wrong.append(f"{base} did not notice in {NOTICED_SECONDS} s that it hears nothing")


async def _heard(round: Round, scene: Scene, load: Load, end: float) -> None:
    """Ready again in time, and every watcher is up to date soon after."""
    async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
        for base in scene.stage.bases:
            while (await http.get(f"{base}/readyz")).json()["status"] != "ready":
                if time.monotonic() > end:
                    round.verdict.wrong.append(f"{base} is not ready after {NOTICED_SECONDS} s")
                    return
                await asyncio.sleep(0.05)
    wanted = await scene.stage.tallies([poll.id for poll in load.polls])
    fresh = time.monotonic() + FRESH_SECONDS
    while True:
        late = [
            f"{tally.poll}: {FRESH_SECONDS} s after it was ready a watcher is at {watcher.best.get(tally.poll)}"
            for watcher in scene.watchers
            for tally in wanted
            if watcher.best.get(tally.poll, ((0, 0), {}))[0] < (tally.epoch, tally.seq)
        ]
        if not late or time.monotonic() > fresh:
            round.verdict.wrong += late
            return
        await asyncio.sleep(0.05)


async def clocks(round: Round) -> None:
    """Instances whose hosts are wrong by minutes and by a month close a poll at the same moment."""
    async with round.stage() as stage:
        for turn in range(round.times(1, 8)):
            try:
                for number in range(2):
                    stage.web[number] = shifted(SHIFTS[(2 * turn + number) % 4])
            except Missing as error:
                raise NotInjected(str(error)) from None
            await stage.restart()
            await _closes(round, stage)


async def _closes(round: Round, stage: Stage) -> None:
    scene = Scene(round, stage)
    others = await scene.polls(4)  # and the people, where there are none yet
    at = (datetime.now(UTC) + timedelta(seconds=5)).isoformat(timespec="milliseconds")
    ending = await scene.polls(4, closesAt=at)
    async with scene.act(made=[*ending, *others]) as load:
        async with asyncio.timeout(20):
            while load.codes.get("POLL_CLOSED", 0) < 40:
                await asyncio.sleep(0.05)
        round.hit()
    ends, last = to_ms(at), 0
    for poll in ending:
        for (of, voter), ops in load.journal.ops.items():
            for op in ops:
                if of == poll.id and op.outcome is Outcome.OK and op.cast_at:
                    last = max(last, op.cast_at)
                    if op.cast_at >= ends:
                        round.verdict.wrong.append(f"{of} {voter}: cast {op.cast_at - ends} ms after the end")
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        for poll in ending:
            shown = [(await http.get(f"{base}/polls/{poll.id}")).json() for base in stage.bases]
            if not all(one["tally"]["final"] and to_ms(one["poll"]["closesAt"]) == ends for one in shown):
                round.verdict.wrong.append(f"{poll.id}: not closed alike, {shown}")
    round.notes[:] = [f"the last ballot came {ends - last} ms before the end"]
