"""Attack a real server for some time, then say what did not hold: see ``scripts/hostile --help``."""

import argparse
import asyncio
import re
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import psutil

from tools.harness.http import Api, ok
from tools.harness.process import Server, serving
from tools.hostile.attacks import ATTACKS, Target

CLIENTS: Final = 12
WARM_UP: Final = 0.4
"""Part of the run after which memory is first measured."""

ATTACK_SECONDS: Final = 60.0
"""For one attack, whatever it waits for: every state of a connection has a shorter deadline."""

MAX_GROWTH_MIB: Final = 10.0
STALL_SECONDS: Final = "0.1"
SETTINGS: Final = {
    "HEAD_SECONDS": "2",
    "KEEP_ALIVE_SECONDS": "2",
    "DISCARD_SECONDS": "2",
    "MESSAGE_RATE": "50",
}

_BUCKET: Final = re.compile(r'pollroom_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


@dataclass
class Report:
    seed: str
    seconds: float
    attacks: Counter[str] = field(default_factory=Counter)
    statuses: dict[int, int] = field(default_factory=dict)
    stalls: int = 0
    warm_mib: float = 0.0
    end_mib: float = 0.0
    log: str = ""
    unanswered: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> list[str]:
        found = []
        if self.statuses.get(500):
            found.append(f"{self.statuses[500]} answers were 500")
        if "Traceback" in self.log or '"level": "error"' in self.log:
            found.append("the log has a stack trace or an error")
        if self.stalls:
            found.append(f"the event loop was blocked {self.stalls} times for more than {STALL_SECONDS} s")
        if self.end_mib - self.warm_mib > MAX_GROWTH_MIB:
            found.append(f"memory grew from {self.warm_mib:.1f} to {self.end_mib:.1f} MiB")
        if self.unanswered:
            found.append(f"{dict(self.unanswered)} were not answered within {ATTACK_SECONDS:.0f} s")
        if not self.statuses.get(200):
            found.append("no request was answered with 200")
        return found

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {number}" for status, number in sorted(self.statuses.items()))
        return (
            f"seed {self.seed}, {self.seconds:.0f} s, {dict(self.attacks)}\n"
            f"statuses {statuses}\n"
            f"stalls over {STALL_SECONDS} s: {self.stalls}; memory {self.warm_mib:.1f} MiB after warm-up, "
            f"{self.end_mib:.1f} MiB at the end\n" + "\n".join(f"FAILED: {one}" for one in self.failures)
        )


def memory(server: Server) -> float:
    return float(psutil.Process(server.processes[0].pid).memory_info().rss) / 2**20


async def stalls(api: Api) -> int:
    buckets = dict(_BUCKET.findall((await api.get("/metrics")).text))
    return int(float(buckets["+Inf"]) - float(buckets[STALL_SECONDS]))


async def hostile(folder: Path, seconds: float, seed: str) -> Report:
    """The same seed gives each client the same sequence of attacks. How they interleave differs."""
    report = Report(seed, seconds)
    with serving(folder, SETTINGS) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner)
            target = Target(server, owner.token, poll["id"], poll["options"][0]["id"], report.statuses)
            before = await stalls(api)
            began = time.monotonic()

            async def client(number: int) -> None:
                random = Random(f"{seed}-{number}")
                while time.monotonic() - began < seconds:
                    name = random.choice(list(ATTACKS))
                    try:
                        async with asyncio.timeout(ATTACK_SECONDS):
                            await ATTACKS[name](target, random)
                    except TimeoutError:
                        report.unanswered[name] += 1
                    report.attacks[name] += 1

            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(client(number))
                await asyncio.sleep(seconds * WARM_UP)
                report.warm_mib = memory(server)
            ok(await api.get("/healthz"))
            target.statuses[200] = target.statuses.get(200, 0) + 1
            report.end_mib = memory(server)
            report.stalls = await stalls(api) - before
            report.log = server.log()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long to attack (default: an hour)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what is sent follows from it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(hostile(Path(folder) / "server", options.seconds, options.seed))
    print(report)
    if "Traceback" in report.log:
        print(report.log[-6000:])
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
