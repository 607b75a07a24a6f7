"""Where the web process spends its time, by py-spy, while it takes votes and while it tells a room."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.load import Load, Plan
from bench.process import Missing
from bench.report import Results
from bench.rows_rooms import UPDATE, room
from bench.rows_votes import first_votes
from bench.run import Bench

SHOWN = 25


def profile(bench: Bench, results: Results) -> None:
    """Profiles of a vote and of the fan-out (needs py-spy; not in a run of all)."""
    stack, size = bench.stack, bench.size
    seconds = size(8, 1)
    people = stack.people(size(200, 10))
    votes = first_votes(Plan(bench.path("votes.plan")), people[: size(100, 5)], bench.polls(), size(100, 5))
    poll = stack.polls(1)[0]
    watching = room(Plan(bench.path("room.plan"), update=UPDATE), people, poll, size(2000, 20))
    for what, plan, rate in (
        ("votes, 100 sockets x 10 in flight", votes, 0),
        ("fan-out, 2,000 sockets", watching, 20),
    ):
        with Load(plan, stack.port, stack.log("load")) as load:
            load.open()
            spy = _spy(stack.web.pid, seconds, bench.path("profile.txt"))
            load.run(seconds, 10**9, 10, rate)
            results.note("profile", f"{what}: share of the time on the processor\n" + _table(spy))


def _spy(pid: int, seconds: float, output: Path) -> tuple["subprocess.Popen[bytes]", Path]:
    program = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        raise Missing("py-spy is not installed (pip install py-spy)")
    command = [program, "record", "--pid", str(pid), "--duration", str(round(seconds)), "--rate", "200"]
    return subprocess.Popen(
        [*command, "--format", "raw", "--native", "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ), output


def _table(spy: tuple["subprocess.Popen[bytes]", Path]) -> str:
    """Functions by their own time, and with what they call."""
    process, output = spy
    _, errors = process.communicate(timeout=120)
    if process.returncode:
        raise RuntimeError(f"py-spy: {errors.decode()[-300:]}")
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in output.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        # Other threads only wait, and so does the loop in its poll.
        if "__main__.py" not in stack or "epoll_" in frames[-1]:
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    lines = ["  own  with callees  function"]
    lines += [
        f"{own[name] / total:5.1%}  {whole[name] / total:12.1%}  {name}" for name, _ in own.most_common(SHOWN)
    ]
    lines.append("  of our own code, with callees:")
    ours = [(name, n) for name, n in whole.most_common() if "(app/" in name or "/app/" in name]
    lines += [f"{own[name] / total:5.1%}  {n / total:12.1%}  {name}" for name, n in ours[:SHOWN]]
    return "\n".join(lines)
