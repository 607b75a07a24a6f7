"""Rows about votes: CPU of the web process for each one that is acknowledged."""

import random
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.load import Load, Outcome, Plan
from bench.machine import cpu_seconds, fsync_p50_ms
from bench.process import Running
from bench.report import Results, Samples
from bench.run import Bench
from bench.stack import LOGS, Person, Poll

VOTE = '{"type":"VOTE","pollId":"%s","optionId":"%s","id":"v%%d"}'
DURABLE, NOT_DURABLE = "every vote on disk (appendfsync always)", "not (appendfsync no)"
OURS, FASTAPI, PLAIN, PIPELINED, BATCHING, ECHO = (
    "Pollroom",
    "FastAPI",
    "Node ws + ioredis, as documented",
    "Node, auto-pipelining and one script",
    "Node with our batching",
    "C echo (floor)",
)


@dataclass
class Contender:
    name: str
    server: Running
    load: Load


def opening(person: Person | None, poll: Poll | None) -> Iterable[tuple[str, str]]:
    if person is not None:
        yield "AUTHENTICATED", f'{{"type":"AUTH","token":"{person.token}"}}'
    if poll is not None:
        yield "POLL_STATE", f'{{"type":"JOIN_POLL","pollId":"{poll.id}"}}'


def first_votes(
    plan: Plan, people: list[Person], polls: list[Poll], sockets: int, *, bare: bool = False
) -> Path:
    """The first vote of each person on each poll, in an order of their own, over ``sockets`` connections in one room.

    ``bare``: nothing is said before.
    """
    chance = random.Random(1)
    each = sockets // len(people)
    for person in people:
        order = chance.sample(polls, len(polls))
        for part in range(each):
            plan.connection([] if bare else opening(person, polls[0]))
            for poll in order[part::each]:
                plan.ballot(VOTE % (poll.id, chance.choice(poll.options)))
    return plan.done()


def cost(
    contender: Contender, other: Samples | None, *, ballots: int, in_flight: int
) -> tuple[float, Outcome]:
    """CPU µs of the server for each acknowledged vote."""
    before = contender.server.cpu()
    outcome = contender.load.run(60, ballots, in_flight)
    used = contender.server.cpu() - before
    if other is not None:
        other.add(contender.name, outcome.rate)
    return used / outcome.acks * 1e6, outcome


def _votes(bench: Bench, results: Results, row: str, sockets: int, in_flight: int, goal: float) -> None:
    stack, size = bench.stack, bench.size
    polls = bench.polls()
    people = stack.people(100 if not bench.quick else 10)
    ballots = size(50_000, 300)
    sockets = size(sockets, 20)
    title = f"votes over WebSocket, {sockets} sockets x {in_flight} in flight"
    samples = results.new(row, f"{title}: CPU of the server", "µs/vote")
    rates = results.new(row, f"{title}: speed", "votes/s")
    plan = first_votes(Plan(bench.path("votes.plan")), people, polls, sockets)
    echo = first_votes(
        Plan(bench.path("echo.plan"), answer='{"type":"VOTE"'), people, polls, sockets, bare=True
    )
    with ExitStack() as running:
        contenders = []

        def enter(name: str, server: Running, port: int, path: Path = plan) -> None:
            load = running.enter_context(Load(path, port, stack.log("load")))
            load.open()
            contenders.append(Contender(name, server, load))

        enter(OURS, stack.web, stack.port)
        if bench.peers:
            peers.seed(stack, polls)
            for name, way in ((PLAIN, "plain"), (PIPELINED, "pipelined"), (BATCHING, "batching")):
                enter(name, *running.enter_context(peers.node(stack, "ws.js", way)))
        enter(ECHO, *running.enter_context(peers.floor(stack)), echo)
        for number in range(-1, bench.rounds):
            for contender in contenders:
                if contender.name in (PLAIN, PIPELINED, BATCHING):
                    forget(bench)
                if number < 0:
                    contender.load.run(60, ballots // 10, in_flight)
                else:
                    value, outcome = cost(contender, rates, ballots=ballots, in_flight=in_flight)
                    samples.add(contender.name, value)
                    bench.say(
                        f"{row} round {number + 1} {contender.name}: {value:.1f} µs, {outcome.rate:,.0f} votes/s, "
                        f"p50 {outcome.p50:.2f} ms, p99 {outcome.p99:.2f} ms"
                    )
    ours = samples.median(OURS)
    results.line(row, title, ours, "µs/vote", f"at most {goal:g} µs", goal)
    if PLAIN in samples:
        results.line(row, "  to plain Node", ours / samples.median(PLAIN), "x", "at most half", 0.5)
        results.line(row, "  to auto-pipelined Node", ours / samples.median(PIPELINED), "x", "below 1", 1)
        results.line(row, "  to Node with our batching", ours / samples.median(BATCHING), "x")
    results.line(row, "  to the C echo", ours / samples.median(ECHO), "x")
    results.line(row, "  votes per second", rates.median(OURS), "votes/s")


def forget(bench: Bench) -> None:
    """The peers' ballots: they share polls, and each is to get first votes."""
    keys = list(bench.stack.redis.scan_iter("peer:{p}:votes:*", count=5000))
    for start in range(0, len(keys), 1000):
        bench.stack.redis.unlink(*keys[start : start + 1000])


def votes_100x10(bench: Bench, results: Results) -> None:
    """Votes over WebSocket, 100 sockets with 10 in flight each."""
    _votes(bench, results, "votes-100x10", 100, 10, 15)


def votes_1000x1(bench: Bench, results: Results) -> None:
    """Votes over WebSocket, 1,000 sockets with 1 in flight each."""
    _votes(bench, results, "votes-1000x1", 1000, 1, 25)


def http_votes(bench: Bench, results: Results) -> None:
    """CPU of an acknowledged vote over HTTP with keep-alive, 100 connections."""
    stack, size = bench.stack, bench.size
    polls = bench.polls()
    people = stack.people(size(100, 10))
    ballots = size(10_000, 100)
    title = f"votes over HTTP, keep-alive, {len(people)} connections"
    samples = results.new("http", f"{title}: CPU of the server", "µs/vote")
    rates = results.new("http", f"{title}: speed", "votes/s")
    plan = Plan(bench.path("http.plan"), mode="http", answer="-")
    for person in people:
        plan.connection()
        for poll in random.Random(person.id).sample(polls, len(polls)):
            plan.ballot(_request(person, poll))
    plan.done()
    with ExitStack() as running:
        contenders = [
            Contender(OURS, stack.web, running.enter_context(Load(plan.path, stack.port, stack.log("load"))))
        ]
        if bench.peers:
            peers.seed(stack, polls)
            forget(bench)
            server, port = running.enter_context(peers.python(stack, "fastapi_server.py"))
            load = running.enter_context(Load(plan.path, port, stack.log("load")))
            contenders.append(Contender(FASTAPI, server, load))
        for contender in contenders:
            contender.load.open()
        for number in range(-1, bench.rounds):
            for contender in contenders:
                if number < 0:
                    contender.load.run(60, ballots // 10)
                    continue
                value, outcome = cost(contender, rates, ballots=ballots, in_flight=1)
                samples.add(contender.name, value)
                bench.say(
                    f"http round {number + 1} {contender.name}: {value:.1f} µs, {outcome.rate:,.0f} votes/s"
                )
    ours = samples.median(OURS)
    results.line("http", title, ours, "µs/vote", "at most 120 µs", 120)
    if FASTAPI in samples:
        results.line("http", f"  to {FASTAPI}", ours / samples.median(FASTAPI), "x", "at most a third", 1 / 3)
    results.line("http", "  votes per second", rates.median(OURS), "votes/s")


def _request(person: Person, poll: Poll) -> str:
    body = f'{{"optionId":"{poll.options[0]}","id":"v%08d"}}'
    return (
        f"POST /polls/{poll.id}/votes HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {person.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body % 0)}\r\n\r\n{body}"
    )


def durable(bench: Bench, results: Results) -> None:
    """Votes a second with every vote on disk, against the same without."""
    stack, size = bench.stack, bench.size
    polls, people = bench.polls(), stack.people(size(100, 10))
    ballots = size(50_000, 200)
    plan = first_votes(Plan(bench.path("durable.plan")), people, polls, len(people))
    samples = results.new("durable", "votes per second, 100 sockets x 10 in flight", "votes/s")
    with Load(plan, stack.port, stack.log("load")) as load:
        load.open()
        load.run(60, ballots // 10, 10)
        try:
            for number in range(bench.rounds):
                for setting, name in (("always", DURABLE), ("no", NOT_DURABLE)):
                    stack.redis.config_set("appendfsync", setting)
                    outcome = load.run(60, ballots // 2, 10)
                    samples.add(name, outcome.rate)
                    bench.say(
                        f"durable round {number + 1} {name}: {outcome.rate:,.0f} votes/s, p50 {outcome.p50:.2f} ms"
                    )
        finally:
            stack.redis.config_set("appendfsync", "always")
    ratio = samples.median(DURABLE) / samples.median(NOT_DURABLE)
    results.line(
        "durable",
        "votes per second, durable relative to not durable",
        ratio,
        "x",
        "at least 0.85",
        0.85,
        "high",
    )
    results.line("durable", "  the disk's fdatasync, p50", fsync_p50_ms(bench.folder), "ms")


def total(bench: Bench, results: Results) -> None:
    """CPU of web, Redis, worker and SQL together for each vote, stored; the peers' with their log drained by the same SQL."""
    stack, size = bench.stack, bench.size
    polls, people = bench.polls(), stack.people(size(100, 10))
    ballots = size(25_000, 200)
    plan = first_votes(Plan(bench.path("total.plan")), people, polls, len(people))
    samples = results.new(
        "total", "CPU of all processes together for each vote, until it is in SQL", "µs/vote"
    )
    with ExitStack() as running:
        contenders = [
            Contender(OURS, stack.web, running.enter_context(Load(plan, stack.port, stack.log("load"))))
        ]
        ways = (
            ((PLAIN, "plain"), (PIPELINED, "pipelined"), (BATCHING, "batching"))
            if bench.peers and stack.sql_pid
            else ()
        )
        peers.seed(stack, polls)
        for name, way in ways:
            server, port = running.enter_context(peers.node(stack, "ws.js", way))
            contenders.append(
                Contender(name, server, running.enter_context(Load(plan, port, stack.log("load"))))
            )
        for contender in contenders:
            contender.load.open()
        with stack.worker():
            stack.drained()
        for number in range(bench.rounds):
            for contender in contenders:
                forget(bench)
                stack.redis.unlink(peers.LOG)
                ours = contender.name == OURS
                with stack.worker() if ours else peers.worker(stack) as worker:
                    worker.settle()
                    pids = {"web": contender.server.pid, "redis": stack.redis_pid, "worker": worker.pid}
                    if stack.sql_pid is not None:
                        pids["sql"] = stack.sql_pid
                    before = {part: cpu_seconds(pid) for part, pid in pids.items()}
                    acks = contender.load.run(60, ballots, 10).acks
                    stack.drained(LOGS if ours else peers.LOG)
                    costs = {
                        part: (cpu_seconds(pid) - before[part]) / acks * 1e6 for part, pid in pids.items()
                    }
                samples.add(contender.name, sum(costs.values()))
                shown = ", ".join(f"{part} {value:.1f}" for part, value in costs.items())
                bench.say(
                    f"total round {number + 1} {contender.name}: {sum(costs.values()):.1f} µs ({shown})"
                )
    results.line("total", "web + Redis + worker + SQL for each vote, stored", samples.median(OURS), "µs/vote")
    for name, _ in ways:
        results.line("total", f"  {name}", samples.median(name), "µs/vote")
