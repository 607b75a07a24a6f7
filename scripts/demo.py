"""``scripts/demo``: two servers, a worker, MariaDB, Redis and voters; compares tally, acknowledged votes and SQL.

``scripts/demo --all`` runs the package ``scripts.demo_all`` instead.
"""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomysql

from app.adapters.redis.embedded.server_process import bound
from tools.harness.process import environment
from tools.servers import Missing, mariadb, redis_server

DEFAULTS = ["--voters", "2000", "--polls", "5"]
START_SECONDS = 30
STORE_SECONDS = 60
STOP_SECONDS = 20
Counts = dict[str, dict[str, int]]
"""Poll id -> option id -> votes, without options that nobody chose."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app", *words]


@contextmanager
def running(name: str, log: Path, settings: Mapping[str, str], said: str) -> Iterator[str]:
    """``python -m app <name>`` in the background; what stands behind ``said`` in its output, once that is there.

    It ends with this process, however that ends. Ctrl-C does not reach it: it is stopped when the voters are gone.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            bound(command(name)),
            env=environment(settings),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    noise: list[str] = []
    try:
        yield said_after(process, log, said)
        if process.poll() is not None:
            raise SystemExit(f"{name} ended by itself:\n{log.read_text()[-1000:]}")
        noise = [line for line in log.read_text().splitlines() if said not in line]
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if noise:
        print(f"-- what {name} (process {process.pid}) logged:", *noise[-20:], sep="\n")


def said_after(process: subprocess.Popen[bytes], log: Path, said: str) -> str:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        for line in log.read_text().splitlines(keepends=True):
            if said in line and line.endswith("\n"):
                return line.partition(said)[2].strip()
        time.sleep(0.05)
    raise SystemExit(f"a part did not start:\n{log.read_text()[-1000:]}")


async def stored(url: str, expected: Counts, seconds: float = STORE_SECONDS) -> Counts:
    """The votes in SQL, as soon as they are those that are expected, or after so many seconds."""
    parts = urlsplit(url)
    connection = await aiomysql.connect(
        host=parts.hostname, port=parts.port, user=parts.username, db=parts.path[1:], autocommit=True
    )
    end = time.monotonic() + seconds
    try:
        while True:
            found: Counts = {}
            async with connection.cursor() as cursor:
                await cursor.execute(
                    "SELECT poll_id, choices, COUNT(*) FROM ballots WHERE choices <> '' GROUP BY poll_id, choices"
                )
                for poll_id, choice, number in await cursor.fetchall():
                    found.setdefault(poll_id, {})[choice] = number
            if found == expected or time.monotonic() > end:
                return found
            await asyncio.sleep(0.2)
    finally:
        connection.close()


def acknowledged(report: dict[str, Any]) -> Counts:
    counts = {
        each["pollId"]: {option: n for option, n in each["acked"].items() if n} for each in report["results"]
    }
    return {poll_id: options for poll_id, options in counts.items() if options}


def compare(arguments: list[str], instances: str, settings: Mapping[str, str]) -> bool:
    simulate = command("simulate", "--instances", instances, "--json", *DEFAULTS, *arguments)
    ended = subprocess.run(bound(simulate), env=environment(settings), stdout=subprocess.PIPE)
    if not ended.stdout:
        return False
    acked = acknowledged(json.loads(ended.stdout))
    rows = asyncio.run(stored(settings["DATABASE_URL"], acked))
    total = sum(sum(options.values()) for options in rows.values())
    print(f"{total:,} votes in SQL", flush=True)
    recounted = subprocess.run(command("recount", "--all"), env=environment(settings))
    return ended.returncode == 0 and rows == acked and recounted.returncode == 0


def main(arguments: list[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(
            "Usage: scripts/demo [--stay | --all] [OPTIONS of simulate, except --url and --instances]",
            flush=True,
        )
        return subprocess.run(command("simulate", "--help"), env=environment({})).returncode
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pollroom-demo-")))
        try:
            database = stack.enter_context(mariadb(folder / "mariadb"))
            redis = stack.enter_context(redis_server(folder / "redis"))
            settings = {
                "DATABASE_URL": database.url,
                "REDIS_URL": redis.url,
                "JWT_SECRET": secrets.token_urlsafe(32),
                "DATA_DIR": str(folder / "data"),
                "PORT": "0",
                "DRAIN_SECONDS": "1",
            }
            print(f"MariaDB on port {database.port}, Redis on port {redis.port}", flush=True)
            subprocess.run(command("migrate"), env=environment(settings), check=True)
            stack.enter_context(running("worker", folder / "worker.log", settings, "The vote worker runs"))
            instances = [
                stack.enter_context(running("serve", folder / f"serve{n}.log", settings, "listens on "))
                for n in (1, 2)
            ]
            print(f"two servers: {' and '.join(instances)}, one worker", flush=True)
            equal = compare(arguments, ",".join(instances), settings)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a part running
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"tally = acked = SQL: {'equal' if equal else 'NOT EQUAL'}")
    return 0 if equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Missing as missing:
        sys.exit(str(missing))
