"""Run the faults one after another, and print what became of them: see ``scripts/faults --help``."""

import argparse
import asyncio
import importlib
import json
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.faults.checker import Verdict
from tools.faults.scene import NotInjected, Round
from tools.faults.stage import Stage
from tools.servers import ensure, mariadb_binary, package, path_redis_binary


@dataclass(frozen=True)
class Fault:
    """``place``: module and function. ``seconds``: as measured, of the short round and of the full one."""

    number: str
    name: str
    place: str
    seconds: tuple[int, int]

    @property
    def run(self) -> Callable[[Round], Awaitable[None]]:
        module, _, function = self.place.partition(":")
        found: Callable[[Round], Awaitable[None]] = getattr(
            importlib.import_module(f"tools.faults.{module}"), function
        )
        return found


FAULTS = (
    Fault("1a", "kill -9 of a web process", "kills:web", (10, 740)),
    Fault("1b", "kill -9 of a worker between COMMIT and trim", "kills:worker", (15, 470)),
    Fault("1c", "kill -9 of Redis", "kills:redis", (8, 120)),
    Fault("1d", "kill -9 of MariaDB in the middle of a batch", "kills:mariadb", (6, 90)),
    Fault("1e", "kill -9 of everything at once", "kills:everything", (6, 260)),
    Fault("2a", "power cut", "power:always", (9, 420)),
    Fault("2b", "power cut with everysec, the control", "power:everysec", (10, 180)),
    Fault("2c", "power cut of the embedded default", "power:embedded", (6, 120)),
    Fault("3a", "lost replies of Redis", "replies:lost", (11, 530)),
    Fault("3b", "batches that come too late", "replies:late", (10, 340)),
    Fault("4a", "deadlocks and lock timeouts", "database:locks", (9, 890)),
    Fault("4b", "poison, and SQL that stands still", "database:poison", (4, 20)),
    Fault("4c", "two workers on a partition, stalled workers", "database:workers", (6, 100)),
    Fault("5", "no room on disk and in memory", "full_disk:run", (18, 300)),
    Fault("6a", "Redis paused", "emptied:paused", (8, 120)),
    Fault("6b", "Redis restarted while it is verified", "emptied:restarted", (9, 110)),
    Fault("6c", "SCRIPT FLUSH", "emptied:forgotten", (4, 60)),
    Fault("6d", "FLUSHALL, drained and under load", "emptied:flushed", (10, 280)),
    Fault("6e", "an empty restart, drained and under load", "emptied:replaced", (11, 80)),
    Fault("6f", "a large poll loaded back", "emptied:loading", (6, 30)),
    Fault("6g", "Redis cut off by iptables", "cutoff:run", (12, 230)),
    Fault("7", "edits, closes and deletions killed at each step", "steps:run", (21, 640)),
    Fault("8a", "CLIENT KILL TYPE pubsub", "listening:cut", (9, 460)),
    Fault("8b", "half-open pub/sub", "listening:half_open", (11, 130)),
    Fault("9", "wrong clocks", "listening:clocks", (13, 120)),
    Fault("10", "kill -9 in the embedded default", "embedded:kills", (7, 180)),
    Fault("11", "rolling restart", "rolling:run", (16, 130)),
    Fault("12a", "ballots as a state machine: runs", "machine:plain", (15, 710)),
    Fault("12b", "the same with kills", "machine:with_kills", (20, 440)),
    Fault("13", "a stray process with the wrong Redis", "stray:strays", (30, 220)),
    Fault("14a", "moves of a deck killed at each step", "moves:moved", (60, 600)),
    Fault("14b", "moves whose hint is lost", "moves:lost", (20, 200)),
    Fault("14c", "pauses killed at each step", "moves:paused", (40, 400)),
    Fault("15a", "JWT_SECRET changed in a rolling restart", "accounts:keys", (30, 250)),
    Fault("15b", "accounts deleted, voters forgotten", "accounts:forgotten", (20, 150)),
    Fault("16a", "a commitment killed at each step", "commitments:killed", (40, 480)),
    Fault("16b", "SQL and Redis put back around a commitment", "commitments:older", (45, 240)),
)


def state_file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pollroom" / "faults.json"


class Screen:
    """One line that is written over where there is a terminal, else one a quarter of a minute."""

    def __init__(self, faults: list[Fault], full: bool) -> None:
        self._faults = faults
        self._full = full
        self._last = 0.0
        self._tty = sys.stderr.isatty()
        self.at = 0

    def left(self) -> int:
        return sum(fault.seconds[self._full] for fault in self._faults[self.at :])

    def show(self, round: Round) -> None:
        now = time.monotonic()
        if now - self._last < (0.2 if self._tty else 15):
            return
        self._last = now
        line = (
            f"[{self.at + 1}/{len(self._faults)}] {round.name}: {round.injected} of {round.planned},"
            f" {round.acknowledged:,} acknowledged; about {-(-self.left() // 60)} min left in all"
        )
        print(
            f"\r\x1b[K{line}" if self._tty else line,
            end="" if self._tty else "\n",
            file=sys.stderr,
            flush=True,
        )

    def done(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._tty else text, file=sys.stderr, flush=True)


class Stages:
    """One stage for fault after fault; a new one after a failure, and for each fault of the full numbers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._stage: Stage | None = None
        self._made = 0

    @asynccontextmanager
    async def usual(self) -> AsyncIterator[Stage]:
        if self._stage is None:
            self._made += 1
            self._stage = await self._stack.enter_async_context(Stage(self._folder / f"stage{self._made}"))
        try:
            yield self._stage
            await self._stage.reset()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._stage = None
        await self._stack.aclose()


async def run_one(fault: Fault, seed: int, full: bool, screen: Screen, stages: Stages) -> dict[str, Any]:
    began = time.monotonic()
    result: dict[str, Any] = {"number": fault.number, "name": fault.name, "seed": seed}
    with tempfile.TemporaryDirectory(
        prefix=f"pollroom-fault-{fault.number}-", ignore_cleanup_errors=True
    ) as folder:
        round = Round(fault.name, Path(folder), seed, full, screen.show, stages.usual)
        missing = ""
        try:
            await fault.run(round)
        except NotInjected as error:
            missing = str(error)
        except Exception as error:
            round.verdict.wrong.append("".join(traceback.format_exception(error))[-3000:])
    verdict = round.verdict
    if full or not verdict.ok:
        await stages.close()
    return result | {
        "injected": round.injected,
        "planned": round.planned,
        "acknowledged": verdict.acknowledged,
        "unknown": verdict.unknown,
        "gone": verdict.gone,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "drifted": len(verdict.drifted),
        "wrong": len(verdict.wrong),
        "findings": verdict.findings[:20],
        "notes": round.notes,
        "not_injected": missing,
        "ok": verdict.ok,
        "seconds": round_up(time.monotonic() - began),
    }


def round_up(seconds: float) -> int:
    return int(seconds + 1)


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| fault | injected | acknowledged | unknown | gone as foretold | lost | doubled | drift | minutes | seed | result |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in results:
        word = (
            f"not injected: {one['not_injected']}" if one["not_injected"] else "ok" if one["ok"] else "FAILED"
        )
        notes = [note if n == 1 else f"{note} ({n} times)" for note, n in Counter(one["notes"]).items()]
        said = "; ".join([word, *notes])
        lines.append(
            f"| {one['number']} {one['name']} | {one['injected']:,} | {one['acknowledged']:,} | {one['unknown']:,} |"
            f" {one['gone']:,} | {one['lost']} | {one['doubled']} | {one['drifted']} | {one['seconds'] / 60:.1f} |"
            f" {one['seed']} | {said} |"
        )
    total = {
        name: sum(one[name] for one in results)
        for name in ("injected", "acknowledged", "unknown", "gone", "lost", "doubled", "drifted", "seconds")
    }
    lines.append(
        f"| **all** | {total['injected']:,} | {total['acknowledged']:,} | {total['unknown']:,} |"
        f" {total['gone']:,} | {total['lost']} | {total['doubled']} | {total['drifted']} | {total['seconds'] / 60:.1f} | |"
        f" {'ok' if all(one['ok'] for one in results) else 'FAILED'} |"
    )
    return "\n".join(lines)


async def run_all(faults: list[Fault], done: dict[str, Any], seed: int, full: bool, screen: Screen) -> None:
    """Results into ``done``; of the full numbers, those that passed are kept for the next time."""
    with tempfile.TemporaryDirectory(prefix="pollroom-faults-", ignore_cleanup_errors=True) as folder:
        stages = Stages(Path(folder))
        try:
            for fault in faults:
                if fault.number in done:
                    continue
                result = done[fault.number] = await run_one(fault, seed, full, screen, stages)
                screen.at += 1
                screen.done(line(result))
                for text in result["findings"]:
                    screen.done(f"      {text}")
                if full and result["ok"]:
                    file = state_file()
                    file.parent.mkdir(parents=True, exist_ok=True)
                    kept = {number: one for number, one in done.items() if one["ok"]}
                    file.write_text(json.dumps(kept, indent=1))
        finally:
            await stages.close()


def line(result: dict[str, Any]) -> str:
    word = "ok" if result["ok"] else "FAILED"
    if result["not_injected"]:
        word = f"not injected: {result['not_injected']}"
    return (
        f"{result['number']:3} {result['name']}: {word}; {result['injected']} injected,"
        f" {result['acknowledged']:,} acknowledged, {result['unknown']} unknown, {result['seconds']} s"
    )


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="the full numbers; goes on where it was interrupted"
    )
    parser.add_argument("--anew", action="store_true", help="with --full: forget what is done already")
    parser.add_argument(
        "--only", metavar="N", action="append", help="one fault, such as 3 or 1b; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="of a run that failed")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the table under its last heading, in place of what is there",
    )
    parser.add_argument("--list", action="store_true", help="the faults, and how long each takes")
    given = parser.parse_args(words)
    faults = [
        fault
        for fault in FAULTS
        if not given.only or fault.number in given.only or fault.number.rstrip("abcdefgh") in given.only
    ]
    if given.list:
        for fault in faults:
            print(f"{fault.number:3} {fault.name} ({fault.seconds[0]} s; full {fault.seconds[1]} s)")
        return 0
    seed = given.seed if given.seed is not None else secrets.randbits(32)
    done: dict[str, Any] = {}
    file = state_file()
    if given.full and file.exists() and not given.anew:
        done = json.loads(file.read_text())
    screen = Screen([fault for fault in faults if fault.number not in done], given.full)
    print(f"seed {seed}; about {-(-screen.left() // 60)} minutes", file=sys.stderr)
    ensure(path_redis_binary, package("redis-server"))
    ensure(mariadb_binary, package("mariadb-server"))
    asyncio.run(run_all(faults, done, seed, given.full, screen))
    results = [done[fault.number] for fault in faults]
    shown = table(results)
    print(shown)
    total = Verdict(
        acknowledged=sum(one["acknowledged"] for one in results),
        lost=[""] * sum(one["lost"] for one in results),
        doubled=[""] * sum(one["doubled"] for one in results),
        drifted=[""] * sum(one["drifted"] for one in results),
        wrong=[""] * sum(one["wrong"] for one in results),
        unknown=sum(one["unknown"] for one in results),
        gone=sum(one["gone"] for one in results),
    )
    summary = f"{sum(one['injected'] for one in results):,} faults; {total}"
    print(summary)
    if given.write is not None:
        page = given.write.read_text()
        heading = page.rindex("\n## ")
        kept = page[: page.index("\n", heading + 1) + 1]
        command = "scripts/faults --full" if given.full else "scripts/faults"
        given.write.write_text(f"{kept}\n`{command}`: {summary}.\n\n{shown}\n")
    return 0 if total.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
