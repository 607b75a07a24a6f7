"""A load on a stage, and the check when it is over. A fault injects in between."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tools.faults.checker import Verdict, check
from tools.faults.journal import Row, Tally
from tools.faults.load import Load, People, Poll, Voter, Watcher
from tools.faults.stage import Stage

VOTERS, POLLS, RATE = (60, 120), (8, 60), (400.0, 1200.0)
"""Of the short round and of the full one. Ballots a second, where nothing is in their way."""
FRESH_SECONDS = 10.0
RECOUNT_SECONDS = 90.0


class NotInjected(Exception):
    """This machine does not allow the fault. ``str()`` says why."""


class Staged(Protocol):
    """A running Pollroom. ``voters`` and ``owner`` (a token) are made once."""

    voters: list[Voter]
    owner: str

    @property
    def bases(self) -> list[str]: ...

    async def healed(self) -> None: ...

    async def recount(self) -> tuple[bool, str]: ...

    async def rows(self, polls: Sequence[str]) -> list[Row]: ...

    async def tallies(self, polls: Sequence[str]) -> list[Tally]: ...

    def traces(self) -> list[str]: ...


@dataclass
class Round:
    """One fault as it runs. ``injected`` counts; ``notes`` go into the table. ``stage``: the usual one, running."""

    name: str
    folder: Path
    seed: int
    full: bool
    progress: Callable[["Round"], None]
    stage: Callable[[], AbstractAsyncContextManager[Stage]]
    injected: int = 0
    planned: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    notes: list[str] = field(default_factory=list)
    load: Load | None = None

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def times(self, short: int, full: int) -> int:
        """How often the next fault is injected."""
        count = full if self.full else short
        self.planned += count
        return count

    def hit(self, count: int = 1) -> None:
        self.injected += count
        self.progress(self)

    @property
    def acknowledged(self) -> int:
        return self.verdict.acknowledged + (self.load.answered if self.load else 0)


class Scene:
    def __init__(self, round: Round, stage: Staged) -> None:
        self.round = round
        self.stage = stage
        self.watchers: list[Watcher] = []

    async def polls(self, count: int, **fields: Any) -> list[Poll]:
        async with People(self.stage.bases[0]) as people:
            if not self.stage.voters:
                self.stage.owner = await people.owner()
                self.stage.voters = await people.voters(VOTERS[self.round.full])
            return await people.polls(self.stage.owner, count, **fields)

    @asynccontextmanager
    async def act(
        self,
        *,
        rate: float | None = None,
        made: list[Poll] | None = None,
        before_check: Callable[[Load], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Load]:
        """A load on new polls while the body injects; then everything must be back, whole and right.

        ``rate``: ballots a second unless the round's own. A voter uses up a poll: see ``Load.spent``.
        """
        full = self.round.full
        made = made if made is not None else await self.polls(POLLS[full])
        rate = rate or RATE[full]
        seed = self.round.dice.getrandbits(32)
        async with AsyncExitStack() as stack:
            watchers = self.watchers = [
                await stack.enter_async_context(Watcher(base, made)) for base in self.stage.bases
            ]
            load = self.round.load = Load(self.stage.bases, self.stage.voters, made, seed, rate)
            try:
                async with load:
                    await load.until_answered(20)
                    yield load
                    await self.stage.healed()
                    await load.until_answered(20)
                    await load.rest()
                await self._recounted()
                if before_check is not None:
                    await before_check(load)
                await self._check(load, watchers)
            finally:
                self.round.load = None
                self.round.progress(self.round)

    async def _check(self, load: Load, watchers: Sequence[Watcher]) -> None:
        verdict = self.round.verdict
        ids = [poll.id for poll in load.polls]
        tallies = await self.stage.tallies(ids)
        # All pages are the same pair by now: repeats and reads change nothing.
        verdict.add(check(load.journal, await self.stage.rows(ids), tallies))
        for tally, other in zip(tallies, tallies[len(ids) :], strict=False):
            if (tally.epoch, tally.seq) != (other.epoch, other.seq):
                verdict.wrong.append(f"{tally.poll}: {tally} and {other} differ")
        await self._fresh(tallies[: len(ids)], watchers)
        verdict.wrong += await load.repeat(400 if self.round.full else 150)
        verdict.wrong += load.rude
        verdict.wrong += [text for watcher in watchers for text in watcher.wrong]
        verdict.wrong += self.stage.traces()

    async def _recounted(self) -> None:
        """The workers store; leases of dead ones run out first."""
        equal, said = False, ""
        end = asyncio.get_running_loop().time() + RECOUNT_SECONDS
        while not equal and asyncio.get_running_loop().time() < end:
            equal, said = await self.stage.recount()
            if "DIFFERENT" in said:
                break
        if not equal:
            self.round.verdict.drifted.append(f"recount: {said[-1500:]}")

    async def _fresh(self, tallies: Sequence[Tally], watchers: Sequence[Watcher]) -> None:
        """Who kept the highest pair has the right one."""

        def late() -> list[str]:
            return [
                f"{tally.poll}: a watcher stays at {watcher.best.get(tally.poll)}, not {tally}"
                for watcher in watchers
                for tally in tallies
                if watcher.best.get(tally.poll, ((0, 0), {})) != ((tally.epoch, tally.seq), tally.counts)
            ]

        end = asyncio.get_running_loop().time() + FRESH_SECONDS
        while (found := late()) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)
        self.round.verdict.wrong += found
