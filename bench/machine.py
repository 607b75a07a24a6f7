"""What is measured on: processors, memory, disk, versions; and how much a process used."""

import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
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
