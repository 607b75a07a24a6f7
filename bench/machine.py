"""What is measured on: processors, memory, disk, versions; and how much a process used."""

import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = _CORES[0]
OTHER_CORE: Final = _CORES[1] if len(_CORES) > 1 else _CORES[0]
"""The server has a core alone; load, Redis, worker and SQL share the other. On one core all share it."""


def pin_myself() -> None:
    """What this process starts stays on the other core, unless it says otherwise."""
    os.sched_setaffinity(0, {OTHER_CORE})


def pin(pid: int, core: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, threads that ended included, children not."""
    # What clock_getcpuclockid(3) gives for CPUCLOCK_SCHED; /proc/<pid>/stat has the same in steps of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def memory_bytes(pid: int) -> int:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak_memory_bytes(pid: int) -> int:
    """The most resident memory that a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM")


class Neighbours:
    """How much of the two cores went to processes that are not the benchmark's own, since it was made."""

    def __init__(self) -> None:
        self._at, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """0 to 1. The kernel's own work counts as theirs."""
        seconds = time.monotonic() - self._at
        theirs = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, theirs) / (seconds * len({SERVER_CORE, OTHER_CORE}))


def _busy_seconds() -> float:
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in (f"cpu{SERVER_CORE}", f"cpu{OTHER_CORE}"):
            user, nice, system, _, _, interrupts, soft, steal = map(int, fields[:8])
            busy += user + nice + system + interrupts + soft + steal
    return busy / os.sysconf("SC_CLK_TCK")


def _children() -> list[str]:
    try:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return []


def _own_seconds() -> float:
    """This process, its children that live and those that ended."""
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    for pid in _children():
        with suppress(OSError):
            own += cpu_seconds(int(pid))
    return own


def fsync_p50_ms(folder: Path, count: int = 200) -> float:
    """Median of appending 4 KiB and ``fdatasync``."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(count):
            os.write(file.fileno(), bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def description() -> list[str]:
    """Lines for the report."""
    model = platform.processor() or "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE / 2**30
    return [
        f"{len(_CORES)} cores ({model}), {memory:.0f} GiB of memory, Linux {platform.release()}",
        f"Python {platform.python_version()}, {_version('node', '--version', 'Node')}, "
        f"{_version('redis-server', '--version', 'Redis')}, {_version('mariadbd', '--version', 'MariaDB')}, "
        f"{_version('gcc', '--version', 'gcc')}",
    ]


def _version(program: str, option: str, name: str) -> str:
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if path is None:
        return f"no {name}"
    text = subprocess.run([path, option], capture_output=True, text=True, check=False).stdout
    for word in text.replace("=", " ").replace("-", " ").split():
        if word.lstrip("v")[:1].isdigit() and "." in word:
            return f"{name} {word.lstrip('v')}"
    return name
