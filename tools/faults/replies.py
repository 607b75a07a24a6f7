"""Replies of Redis that never come: cut off, swallowed, or so late that the client went on."""

import asyncio
from contextlib import AsyncExitStack

from tools.faults.gate import Fate, Gate, gate
from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage

CAST = b":ballots:"
"""Among the keys of a batch of ballots, and of few other calls."""
LATE_SECONDS = 4.5
"""Past the deadline of a batch, 3 s, and what the app allows for the difference of clocks."""


async def lost(round: Round) -> None:
    """After execution: most cut the connection, some stay silent until the app's own timeout."""
    count = round.times(100, 10_000)
    silent = count // 50
    left = {Fate.CUT: count - silent, Fate.DROP: silent}

    def fate(request: bytes) -> Fate:
        if CAST not in request or b"EVALSHA" not in request or round.dice.random() < 0.3:
            return Fate.PASS
        chosen = Fate.DROP if round.dice.random() < 0.02 else Fate.CUT
        if not left[chosen]:
            chosen = Fate.DROP if chosen is Fate.CUT else Fate.CUT
            if not left[chosen] or (chosen is Fate.DROP and round.dice.random() > 0.02):
                return Fate.PASS
        left[chosen] -= 1
        round.hit()
        return chosen

    async with round.stage() as stage, AsyncExitStack() as stack:
        gates = await _before_webs(stage, stack)
        scene = Scene(round, stage)
        while any(left.values()):
            async with scene.act() as load:
                for one in gates:
                    one.reply = fate
                async with asyncio.timeout(900):
                    while sum(left.values()) and not load.spent:
                        await asyncio.sleep(0.1)
                for one in gates:
                    one.release()


async def late(round: Round) -> None:
    """Batches that Redis gets after their clients were told UNAVAILABLE, and did something else: nothing changes."""
    async with round.stage() as stage, AsyncExitStack() as stack:
        gates = await _before_webs(stage, stack)
        scene = Scene(round, stage)
        count = round.times(1, 60)
        for start in range(0, count, 20):
            async with scene.act() as load:
                for _ in range(min(20, count - start)):
                    one = round.dice.choice(gates)
                    one.arm(request=lambda data: Fate.HOLD if CAST in data else Fate.PASS)
                    async with asyncio.timeout(30):
                        await one.held.wait()
                    await asyncio.sleep(LATE_SECONDS)
                    one.release()
                    round.hit()
                    await load.until_answered(50)


async def _before_webs(stage: Stage, stack: AsyncExitStack) -> list[Gate]:
    gates = []
    for number in range(2):
        one = await stack.enter_async_context(gate(stage.redis.port))
        stage.web[number] = {"REDIS_URL": f"redis://127.0.0.1:{one.port}/0"}
        gates.append(one)
    await stage.restart()
    return gates
