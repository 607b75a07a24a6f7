"""Rows about the processes: memory, connecting, starting, storing."""

import itertools
import os
import statistics
import sys
import time
from typing import Any, Final

import msgspec

from app.adapters.redis.connection.keys import Keys
from bench import machine
from bench.load import Load, Plan
from bench.process import Running
from bench.report import Results
from bench.rows_rooms import room
from bench.rows_votes import VOTE, opening
from bench.run import Bench
from bench.stack import PARTITIONS, Stack, wait_ready
from tools.servers import free_port

START_SECONDS: Final = 30.0


def memory(bench: Bench, results: Results) -> None:
    """Memory of the web process for each idle joined socket."""
    stack = bench.stack
    sockets = bench.size(4000, 50)
    person, poll = stack.people(1)[0], stack.polls(1)[0]
    samples = results.new("memory", f"memory, {sockets} idle sockets in a room", "KiB/socket")
    idle, few = Plan(bench.path("idle.plan")), Plan(bench.path("few.plan"))
    for plan, count in ((idle, sockets), (few, 20)):
        for _ in range(count):
            plan.connection(opening(person, poll))
        plan.done()
    for _ in range(min(bench.rounds, 3)):
        with (
            stack.fresh_web() as (web, port),
            Load(idle.path, port, stack.log("load")) as load,
            Load(few.path, port, stack.log("load")) as first,
        ):
            # What the first sockets bring with them (imports, caches) is not a socket's.
            first.open()
            before = machine.memory_bytes(web.pid)
            load.open()
            load.run(2, 0)
            samples.add("Pollroom", (machine.memory_bytes(web.pid) - before) / sockets / 1024)
    value = samples.median("Pollroom")
    results.line("memory", "memory of an idle joined socket", value, "KiB", "at most 30 KiB", 30)


def connect(bench: Bench, results: Results) -> None:
    """Connect and JOIN_POLL, sockets a second, 64 at a time; what SQL was asked meanwhile."""
    stack = bench.stack
    sockets = bench.size(2000, 50)
    poll = stack.polls(1)[0]
    samples = results.new("connect", f"connect + JOIN_POLL, {sockets} sockets", "sockets/s")
    costs = results.new("connect", f"connect + JOIN_POLL, {sockets} sockets: CPU of the server", "µs/socket")
    plan = room(Plan(bench.path("join.plan")), [], poll, sockets)
    for number in range(-1, bench.rounds):
        with Load(plan, stack.port, stack.log("load")) as load:
            asked, used = _statements(stack), stack.web.cpu()
            seconds = load.open()
            used, asked = stack.web.cpu() - used, _statements(stack) - asked
            if number >= 0:
                samples.add("Pollroom", sockets / seconds)
                costs.add("Pollroom", used / sockets * 1e6)
                bench.say(f"connect round {number + 1}: {sockets / seconds:.0f}/s, {used / sockets * 1e6:.0f} µs each, "
                          f"{asked} SQL statements")  # fmt: skip
    value = samples.median("Pollroom")
    results.line("connect", "connect + JOIN_POLL per second", value, "/s", "at least 1,000", 1000, "high")
    results.line("connect", "  CPU of the web process", costs.median("Pollroom"), "µs")
    if stack.sql == "mariadb":
        results.line("connect", "  SQL statements per JOIN_POLL", asked / sockets, "", "none (0.01)", 0.01)


def _statements(stack: Stack) -> int:
    """Statements that MariaDB has executed; 0 where SQL is SQLite."""
    if stack.sql != "mariadb":
        return 0
    return int(stack.sql_ask("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])


def start(bench: Bench, results: Results) -> None:
    """Start of the embedded default, on an empty folder, to the first /readyz 200."""
    samples = results.new("start", "start of the embedded default", "s")
    for number in range(min(bench.rounds, 5)):
        port = free_port()
        env = bench.stack.environment(PORT=str(port), DATA_DIR=str(bench.folder / f"embedded-{number}"))
        for name in ("DATABASE_URL", "REDIS_URL", "JWT_SECRET"):
            del env[name]
        begun = time.monotonic()
        with Running(
            [sys.executable, "-m", "app", "serve"],
            core=machine.SERVER_CORE,
            log=bench.stack.log("embedded"),
            cwd=bench.stack.tree,
            env=env,
        ) as web:
            wait_ready(port, web)
            samples.add("Pollroom", time.monotonic() - begun)
    value = samples.median("Pollroom")
    results.line("start", "start of the embedded default to /readyz 200", value, "s", "at most 2 s", 2)


def worker(bench: Bench, results: Results) -> None:
    """The worker: vote log into SQL, ballots a second. It has the web process's core; SQL and Redis the other."""
    stack = bench.stack
    polls, entries = bench.size(400, 10), bench.size(200_000, 500)
    targets = stack.polls(polls)
    samples = results.new("worker", f"the worker, {entries} entries of {polls} polls", "ballots/s")
    with stack.worker():
        stack.drained()
    for number in range(-1, min(bench.rounds, 3)):
        count = entries // 10 if number < 0 else entries
        fill(stack, [(poll.id, poll.options[0]) for poll in targets], count)
        sql = machine.cpu_seconds(stack.sql_pid) if stack.sql_pid else 0.0
        with stack.worker(machine.SERVER_CORE) as process:
            started, left = _begins(stack, count)
            stack.drained()
            seconds, used = time.monotonic() - started, process.cpu()
            if number >= 0:
                sql = machine.cpu_seconds(stack.sql_pid) - sql if stack.sql_pid else 0.0
                samples.add("Pollroom", left / seconds)
                bench.say(
                    f"worker round {number + 1}: {left / seconds:,.0f} ballots/s, CPU of the worker {used / count * 1e6:.1f} µs "
                    f"a ballot (its start included), of SQL {sql / count * 1e6:.1f} µs"
                )
    value = samples.median("Pollroom")
    results.line(
        "worker", f"the worker into {stack.sql}", value, "ballots/s", "at least 80,000", 80_000, "high"
    )


def fill(stack: Stack, polls: list[tuple[str, str]], count: int) -> None:
    """Entries as the ledger writes them, of voters that nobody knows."""
    tags = {poll_id: _log_of(stack, poll_id) for poll_id, _ in polls}
    pipe = stack.redis.pipeline(transaction=False)
    now = int(time.time() * 1000)
    run = os.urandom(4).hex()
    for number, (poll_id, option) in zip(range(count), itertools.cycle(polls), strict=False):
        voter = f"b{run}{number:08d}"
        entry = ["b", poll_id, voter, 1, f"v{number}", False, [option], number + 2, now, True, []]
        pipe.xadd(tags[poll_id], {"e": msgspec.msgpack.encode(entry)})
        if number % 2000 == 1999:
            pipe.execute()
    pipe.execute()


def _log_of(stack: Stack, poll_id: str) -> str:
    keys = Keys(PARTITIONS)
    partition = keys.partition(poll_id)
    generation = int(stack.redis.hget(keys.fence(partition), "generation") or 1)
    return keys.log(partition, generation)


def _begins(stack: Stack, count: int) -> tuple[float, int]:
    """When the worker was first seen to have stored something, and how much was left then."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        left = stack.log_length()
        if left < count:
            return time.monotonic(), left
        time.sleep(0.002)
    raise RuntimeError("the worker stores nothing")


def redis_memory(bench: Bench, results: Results) -> None:
    """Redis: bytes per voter in a poll and of an entry of the log."""
    stack = bench.stack
    people = stack.crowd(bench.size(1000, 20))
    polls = stack.polls(bench.size(20, 2))
    plan = Plan(bench.path("memory.plan"))
    with stack.worker():
        stack.drained()
    logs = {_log_of(stack, poll.id) for poll in polls}
    for person in people:
        plan.connection(opening(person, None))
        for poll in polls:
            plan.ballot(VOTE % (poll.id, poll.options[0]))
    plan.done()
    before = sum(_usage(stack, key) for key in logs)
    with Load(plan.path, stack.port, stack.log("load")) as load:
        load.open()
        acks = load.run(60, 10**9, 4).acks
    entries = stack.log_length()
    log = sum(_usage(stack, key) for key in logs) - before
    ballots = [
        _usage(stack, key)
        for poll in polls
        for key in stack.redis.scan_iter(f"*:ballots:{poll.id}", count=10000)
    ]
    voter = statistics.mean(ballots) / len(people)
    assert entries == acks
    results.line("redis-memory", "Redis, bytes per voter in a poll", voter, "bytes", "at most 200", 200)
    results.line("redis-memory", "Redis, bytes per log entry", log / entries, "bytes", "at most 150", 150)


def _usage(stack: Stack, key: Any) -> int:
    return int(stack.redis.memory_usage(key, samples=0) or 0)
