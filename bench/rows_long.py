"""Rows about the ledger's script, about loading a large poll, and about a long time."""

import asyncio
import http.client
import json
import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.clock import RedisClock
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.ledger.ledger import RedisLedger
from app.domain.ballots import Ballot
from bench import machine
from bench.load import Load, Plan
from bench.report import Results
from bench.rows_votes import VOTE, first_votes, opening
from bench.run import Bench
from bench.stack import PARTITIONS, Poll, Stack

LOAD_SECONDS: Final = 60.0
FORGET_SECONDS: Final = 1200.0
SOAK_SECONDS: Final = 600.0
COMMIT_SECONDS: Final = 120.0


def ledger(bench: Bench, results: Results) -> None:
    """CPU of Redis for a ballot: the ledger's script, called in full batches and for one ballot at a time."""
    stack, size = bench.stack, bench.size
    polls = bench.polls()
    samples = results.new("ledger", "the ledger's script: CPU of Redis", "µs/ballot")
    together, alone = "batches of up to 256 per partition", "one ballot per call"

    async def measure() -> None:
        async with connect(stack.redis_url) as client:
            clock = RedisClock()
            asked = time.monotonic()
            seconds, micros = await client.time()
            clock.heard(int(seconds) * 1000 + int(micros) // 1000, asked)
            ours = RedisLedger(client, Keys(PARTITIONS), clock, queued_ballots=10_000)

            async def refuse(*_: object) -> None:
                raise RuntimeError("a poll is not in Redis")

            running = asyncio.ensure_future(ours.run(refuse, refuse, refuse))
            try:
                for _ in range(bench.rounds):
                    for name, count, each in (
                        (together, size(40_000, 400), 4096),
                        (alone, size(2000, 50), 1),
                    ):
                        voter = secrets.token_hex(4)
                        before = machine.cpu_seconds(stack.redis_pid)
                        for start in range(0, count, each):
                            await asyncio.gather(
                                *(
                                    _cast(ours, polls, voter, n)
                                    for n in range(start, min(start + each, count))
                                )
                            )
                        samples.add(name, (machine.cpu_seconds(stack.redis_pid) - before) / count * 1e6)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(measure())
    for name in (together, alone):
        results.line("ledger", f"CPU of Redis for a ballot, {name}", samples.median(name), "µs")


def _cast(ledger: RedisLedger, polls: list[Poll], voter: str, number: int) -> "asyncio.Future[object]":
    poll = polls[number % len(polls)]
    ballot = Ballot(poll.id, f"{voter}{number:07d}", True, f"v{number}", False, (poll.options[number % 4],))
    return ledger.cast(ballot)  # type: ignore[return-value]


def cold_load(bench: Bench, results: Results) -> None:
    """Loading a poll with a million ballots from SQL, and what that does to votes on others."""
    stack, size = bench.stack, bench.size
    if stack.sql != "mariadb":
        bench.say("needs MariaDB, which makes the rows itself")
        return
    ballots, rate, seconds = size(1_000_000, 1000), 200, size(5.0, 0.5)
    poll, others, people = stack.polls(1)[0], stack.polls(50), stack.people(100)
    with stack.worker():
        stack.drained()
    _store_ballots(stack, poll, ballots)
    plan = first_votes(Plan(bench.path("beside.plan")), people, others, len(people))
    times = results.new("cold-load", f"loading a poll with {ballots:,} ballots", "s")
    quiet = results.new("cold-load", "votes on other polls meanwhile: p99", "ms")
    with Load(plan, stack.port, stack.log("load")) as load:
        load.open()
        for number in range(min(bench.rounds, 3)):
            quiet.add("before", load.run(seconds, 10**9, 4, rate).p99)
            _as_unloaded(stack, poll, ballots)
            with ThreadPoolExecutor(1) as pool:
                reader = pool.submit(_until_loaded, stack.port, poll.id, ballots)
                quiet.add("while loading", load.run(seconds, 10**9, 4, rate).p99)
                times.add("Pollroom", reader.result())
            took, late = times.values["Pollroom"][-1], quiet.values["while loading"][-1]
            bench.say(f"cold-load round {number + 1}: {took:.1f} s, p99 of others {late:.0f} ms")
    what, value = f"poll with {ballots:,} ballots, from SQL", times.median("Pollroom")
    results.line("cold-load", what, value, "s", "at most 15 s", 15)
    results.line("cold-load", "  votes on others: p99 before", quiet.median("before"), "ms")
    results.line("cold-load", "  votes on others: p99 meanwhile", quiet.median("while loading"), "ms")


def _store_ballots(stack: Stack, poll: Poll, ballots: int) -> None:
    """Ballots in SQL that Redis does not know. Their ids are long enough for a verifiable poll."""
    options = ", ".join(f"'{option}'" for option in poll.options)
    stack.sql_ask(
        f"INSERT INTO ballots (poll_id, voter_id, n, ballot_id, choices, seq, epoch, cast_at, accepted, earlier) "
        f"SELECT '{poll.id}', CONCAT('c', seq), 1, LEFT(SHA2(seq, 256), 22), ELT(1 + seq % 4, {options}), seq + 2, "
        f"1, {int(time.time() * 1000)}, 1, '[]' FROM seq_1_to_{ballots}"
    )


def _as_unloaded(stack: Stack, poll: Poll, ballots: int) -> None:
    """As unloading leaves it: the log is stored, and nothing of the poll is in Redis."""
    stack.sql_ask(f"UPDATE polls SET seq = {ballots + 9} WHERE id = '{poll.id}'")
    stack.redis.unlink(*Keys(PARTITIONS).poll(poll.id))


def retention(bench: Bench, results: Results) -> None:
    """Forgetting the voters of a closed poll with a million ballots, and what that does to votes on others."""
    stack, size = bench.stack, bench.size
    if stack.sql != "mariadb":
        bench.say("needs MariaDB, which makes the rows itself")
        return
    ballots, rate, seconds = size(1_000_000, 1000), 200, size(10.0, 0.5)
    poll, others, people = stack.polls(1)[0], stack.polls(50), stack.people(100)
    with stack.worker():
        stack.drained()
    _store_ballots(stack, poll, ballots)
    _as_unloaded(stack, poll, ballots)
    stack.sql_ask(
        f"UPDATE polls SET closed_at = {int(time.time() * 1000) - 3_600_000} WHERE id = '{poll.id}'"
    )
    plan = first_votes(Plan(bench.path("beside.plan")), people, others, len(people))
    with Load(plan, stack.port, stack.log("load")) as load:
        load.open()
        before = load.run(seconds, 10**9, 4, rate).p99
        with stack.worker(RETENTION_DAYS="0.01") as worker, ThreadPoolExecutor(1) as pool:
            forgetting = pool.submit(_until_forgotten, stack, poll.id)
            meanwhile = load.run(seconds, 10**9, 4, rate).p99
            took, memory = forgetting.result(), machine.memory_bytes(worker.pid) / 2**20
    counted = stack.sql_ask(
        f"SELECT COUNT(*), SUM(voter_id LIKE '~%') FROM ballots WHERE poll_id = '{poll.id}'"
    )
    if counted != ((ballots, ballots),):
        raise RuntimeError(f"{counted} instead of {ballots}")
    results.line("retention", f"voters of a poll with {ballots:,} ballots forgotten", took, "s")
    results.line("retention", "  votes on others: p99 before", before, "ms")
    results.line("retention", "  votes on others: p99 meanwhile", meanwhile, "ms")
    results.line("retention", "  memory of the worker", memory, "MiB")


def _until_forgotten(stack: Stack, poll_id: str) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < FORGET_SECONDS:
        if stack.sql_ask(f"SELECT anonymized_at FROM polls WHERE id = '{poll_id}'") != ((None,),):
            return time.monotonic() - begun
        time.sleep(0.2)
    raise RuntimeError("not forgotten")


def _until_loaded(port: int, poll_id: str, voters: int) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < LOAD_SECONDS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LOAD_SECONDS)
        try:
            connection.request("GET", f"/polls/{poll_id}")
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status == 200:
            if document["tally"]["voters"] != voters:
                raise RuntimeError(f"{document['tally']['voters']} voters instead of {voters}")
            return time.monotonic() - begun
        time.sleep(0.05)
    raise RuntimeError("not loaded")


def commitment(bench: Bench, results: Results) -> None:
    """From the close of a verifiable poll with a million ballots to its commitment, and loading the same poll from SQL."""
    stack = bench.stack
    if stack.sql != "mariadb":
        bench.say("needs MariaDB, which makes the rows itself")
        return
    ballots = bench.size(1_000_000, 1000)
    times = results.new("commitment", f"a poll with {ballots:,} ballots", "s")
    memory = results.new("commitment", "peak memory of the worker", "MiB")
    for number in range(min(bench.rounds, 3)):
        poll = stack.polls(1, verifiable=True)[0]
        _store_ballots(stack, poll, ballots)
        # Alone on its core, like the web process that loads.
        with stack.worker(machine.SERVER_CORE) as worker:
            stack.drained()
            stack.close(poll)
            times.add("commitment", _until_committed(stack, poll, ballots))
            memory.add("worker", machine.peak_memory_bytes(worker.pid) / 2**20)
            stack.drained()
        _as_unloaded(stack, poll, ballots)
        times.add("loading", _until_loaded(stack.port, poll.id, ballots))
        bench.say(
            f"commitment round {number + 1}: {times.values['commitment'][-1]:.1f} s, "
            f"{memory.values['worker'][-1]:.0f} MiB, loading {times.values['loading'][-1]:.1f} s"
        )
    took, loading = times.median("commitment"), times.median("loading")
    results.line("commitment", f"from the close to the commitment to {ballots:,} ballots", took, "s")
    results.line("commitment", "  to loading the same poll", took / loading, "x", "at most 2", 2)
    results.line(
        "commitment", "  peak memory of the worker", memory.median("worker"), "MiB", "at most 300 MiB", 300
    )


def _until_committed(stack: Stack, poll: Poll, ballots: int) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < COMMIT_SECONDS:
        document = stack.api.call("GET", f"/polls/{poll.id}")
        if found := document["poll"]["commitment"]:
            if found["size"] != ballots:
                raise RuntimeError(f"{found['size']} ballots instead of {ballots}")
            return time.monotonic() - begun
        time.sleep(0.05)
    raise RuntimeError("not committed")


def soak(bench: Bench, results: Results) -> None:
    """10 minutes of people who come, vote and go: does the memory of the web process grow? (Not in a run of all.)"""
    stack, size = bench.stack, bench.size
    whole, sockets, rate = size(SOAK_SECONDS, 2.0), size(500, 20), size(500, 50)
    polls, begun = stack.polls(size(200, 10)), time.monotonic()
    samples = results.new("soak", "memory of the web process", "MiB")
    points: list[tuple[float, float]] = []
    with stack.worker():
        while time.monotonic() - begun < whole:
            people = stack.people(sockets)
            plan = Plan(bench.path("soak.plan"))
            for number, person in enumerate(people):
                plan.connection(opening(person, polls[number % len(polls)]))
                for poll in polls:
                    plan.ballot(VOTE % (poll.id, poll.options[0]))
            with Load(plan.done(), stack.port, stack.log("load")) as load:
                load.open()
                load.run(size(8.0, 0.5), 10**9, 4, rate)
            samples.add("Pollroom", machine.memory_bytes(stack.web.pid) / 2**20)
            points.append((time.monotonic() - begun, samples.values["Pollroom"][-1]))
            bench.say(f"soak {points[-1][0]:.0f} s: {points[-1][1]:.1f} MiB")
    # What the first minutes fill is no leak: 20,000 tokens are remembered, 57 come a second.
    later = [point for point in points if point[0] > whole * 2 / 3]
    slope = statistics.linear_regression(*zip(*later, strict=True)).slope if len(later) > 1 else 0.0
    results.line("soak", "memory of the web process, slope", slope * 3600, "MiB/hour")
