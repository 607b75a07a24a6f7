"""Rows about rooms: what it costs to tell everybody, and how soon they know."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import machine, peers
from bench.load import Load, Plan
from bench.process import Running
from bench.report import Results
from bench.rows_votes import OURS, VOTE, Contender, opening
from bench.run import Bench
from bench.stack import Person, Poll

FLOOR: Final = "C send() loop (floor)"
NODE: Final = "Node ws, as documented"
PREBUILT: Final = "Node ws, frame built once"
SOCKETIO: Final = "Socket.IO with Redis adapter"
PYTHON: Final = "python-socketio with Redis manager"
PEERS: Final = (NODE, PREBUILT, SOCKETIO, PYTHON)
UPDATE: Final = '"POLL_UPDATE"'
ENGINE: Final = "/socket.io/?EIO=4&transport=websocket"
ENGINE_VOTE: Final = '42["VOTE",{"pollId":"%s","optionId":"%s","id":"v%%d"}]'
PAYLOAD: Final = (
    '{"type":"POLL_UPDATE","pollId":"%s","tally":{"epoch":1,"seq":1000,"voters":1000,"final":false,"counts":'
    '{"%s":250,"%s":250,"%s":250,"%s":250}},"viewers":2000,"serverTime":"2026-01-01T00:00:00.000Z"}'
)


def room(
    plan: Plan, people: list[Person], poll: Poll, sockets: int, *, bare: bool = False, ballots: int = 1
) -> Path:
    """``sockets`` in one room; the first ones belong to ``people``, who have ``ballots`` votes each (one: first votes)."""
    for number in range(sockets):
        person = people[number] if number < len(people) else None
        plan.connection([] if bare else opening(person, poll))
        for turn in range(ballots if person else 0):
            plan.ballot(VOTE % (poll.id, poll.options[(number + turn) % len(poll.options)]))
    return plan.done()


def engine_room(plan: Plan, people: list[Person], poll: Poll, sockets: int) -> Path:
    """The same in the protocol of Socket.IO."""
    for number in range(sockets):
        person = people[number] if number < len(people) else None
        plan.connection(
            [
                ('"sid"', ""),
                ("40{", f'40{{"token":"{person.token}"}}' if person else "40"),
                ("POLL_STATE", f'42["JOIN_POLL",{{"pollId":"{poll.id}"}}]'),
            ]
        )
        if person:
            plan.ballot(ENGINE_VOTE % (poll.id, poll.options[number % 4]))
    return plan.done()


def fanout(bench: Bench, results: Results) -> None:
    """CPU for each delivery, 2,000 sockets in one room, ticks 100 ms apart."""
    stack, size = bench.stack, bench.size
    sockets, seconds, rate = size(2000, 50), size(4.0, 0.5), 30
    people = stack.people(min(sockets, round((seconds + 1) * rate * (bench.rounds + 2))))
    poll = stack.polls(1)[0]
    title = f"fan-out, {sockets} sockets in a room, ticks 100 ms apart"
    samples = results.new("fanout", f"{title}: CPU of the server", "µs/delivery")
    plan = room(Plan(bench.path("room.plan"), update=UPDATE), people, poll, sockets)
    bare = Plan(bench.path("bare.plan"), update=UPDATE, answer='{"type":"VOTE"')
    engine = Plan(bench.path("engine.plan"), update=UPDATE, answer='42["VOTE_ACCEPTED"', upgrade=ENGINE)
    with ExitStack() as running:
        contenders = []

        def enter(name: str, server: Running, port: int, path: Path = plan) -> None:
            load = running.enter_context(Load(path, port, stack.log("load")))
            load.open()
            contenders.append(Contender(name, server, load))

        enter(OURS, stack.web, stack.port)
        floor = peers.floor(stack, 100, PAYLOAD % (poll.id, *poll.options))
        enter(FLOOR, *running.enter_context(floor), room(bare, people, poll, sockets, bare=True))
        if bench.peers:
            peers.seed(stack, [poll])
            enter(NODE, *running.enter_context(peers.node(stack, "ws.js", "pipelined")))
            enter(PREBUILT, *running.enter_context(peers.node(stack, "ws.js", "pipelined", "prebuilt")))
            engine_room(engine, people, poll, sockets)
            enter(SOCKETIO, *running.enter_context(peers.node(stack, "socketio.js")), engine.path)
            enter(PYTHON, *running.enter_context(peers.python(stack, "socketio_server.py")), engine.path)
        for number in range(-1, bench.rounds):
            for contender in contenders:
                if contender.name in PEERS:
                    stack.redis.unlink(f"peer:{{p}}:votes:{poll.id}")
                before = contender.server.cpu()
                outcome = contender.load.run(1.0 if number < 0 else seconds, 10**9, 1, rate)
                used = contender.server.cpu() - before
                if number < 0:
                    continue
                samples.add(contender.name, used / outcome.updates * 1e6)
                bench.say(
                    f"fanout round {number + 1} {contender.name}: {used / outcome.updates * 1e6:.2f} µs, "
                    f"{outcome.updates} deliveries of {outcome.update_bytes / outcome.updates:.0f} bytes, "
                    f"visible p99 {outcome.visible_p99} ms"
                )
    ours, least = samples.median(OURS), samples.median(FLOOR)
    results.line("fanout", title, ours, "µs", f"at most the C floor ({least:.2f}) + 1.5", least + 1.5)
    for peer in PEERS:
        if peer in samples:
            results.line("fanout", f"  to {peer}", ours / samples.median(peer), "x", "below 1", 1)


def hot(bench: Bench, results: Results) -> None:
    """One hot poll: CPU and deliveries per second at 1,000 and at 20,000 votes per second."""
    stack, size = bench.stack, bench.size
    sockets, seconds = size(2000, 20), size(2.0, 0.5)
    rates = (size(1000, 100), size(20_000, 400))
    people = stack.crowd(sockets)
    deliveries = results.new("hot", f"one hot poll, {sockets} sockets: deliveries", "/s")
    used = results.new("hot", f"one hot poll, {sockets} sockets: CPU of the server", "ms/s")
    reached = results.new("hot", f"one hot poll, {sockets} sockets: votes", "/s")
    each = -(-round(rates[1] * seconds) // sockets)
    for number in range(-1, bench.rounds):
        for rate in rates:
            poll = stack.polls(1, allowChange=True)[0]
            plan = room(Plan(bench.path("hot.plan"), update=UPDATE), people, poll, sockets, ballots=each)
            with Load(plan, stack.port, stack.log("load")) as load:
                load.open()
                load.run(0.5, 0)
                before, redis = stack.web.cpu(), machine.cpu_seconds(stack.redis_pid)
                outcome = load.run(seconds, 10**9, 64, rate, refusals=True)
                cpu = stack.web.cpu() - before
                redis = (machine.cpu_seconds(stack.redis_pid) - redis) / outcome.acks * 1e6
            if number < 0:
                continue
            name = f"{rate:,} votes/s"
            # A run goes on for 0.4 s to see the last ones shown.
            ticks = outcome.updates / sockets / (outcome.seconds + 0.1)
            deliveries.add(name, ticks * sockets)
            used.add(name, cpu / outcome.seconds * 1000)
            reached.add(name, outcome.rate)
            bench.say(
                f"hot round {number + 1} {name}: {outcome.rate:,.0f} votes/s taken, {outcome.errors:,} refused, "
                f"{ticks:.1f} updates/s and socket, CPU {cpu / outcome.seconds:.2f}, Redis {redis:.0f} µs/vote, "
                f"p99 {outcome.p99:.0f} ms, visible p99 {outcome.visible_p99:.0f} ms"
            )
    slow, fast = (deliveries.median(f"{rate:,} votes/s") for rate in rates)
    what = f"one hot poll, deliveries per second at {rates[1]:,} and at {rates[0]:,} votes/s: difference"
    results.line("hot", what, abs(fast / slow - 1) * 100, "%", "at most 10 % (conflation)", 10)
    for rate in rates:
        name = f"{rate:,} votes/s"
        results.line("hot", f"  at {name}: CPU of the web process", used.median(name), "ms/s")
        results.line("hot", f"  at {name}: votes per second reached", reached.median(name), "/s")


def visible(bench: Bench, results: Results) -> None:
    """From a vote to its being visible to all: 5,000 sockets in one room, 5,000 votes per second, load included."""
    stack, size = bench.stack, bench.size
    sockets, rate, seconds = size(5000, 50), size(5000, 100), size(4.0, 0.5)
    people = stack.crowd(size(1000, 20))
    samples = results.new("visible", f"vote to visible, {sockets} sockets, {rate} votes/s: p99", "ms")
    halves = results.new("visible", f"vote to visible, {sockets} sockets, {rate} votes/s: p50", "ms")
    taken = results.new("visible", f"vote to visible, {sockets} sockets: votes taken of {rate}/s", "votes/s")
    for number in range(-1, bench.rounds):
        poll = stack.polls(1, allowChange=True)[0]
        each = -(-round(rate * seconds) // len(people))
        plan = room(Plan(bench.path("visible.plan"), update=UPDATE), people, poll, sockets, ballots=each)
        with Load(plan, stack.port, stack.log("load")) as load:
            load.open()
            load.run(0.5, 0)
            before = stack.web.cpu()
            outcome = load.run(seconds, 10**9, 32, rate, refusals=True)
            cpu = stack.web.cpu() - before
        if number < 0:
            cold = outcome
            bench.say(
                f"visible, first round, not counted: p99 {cold.visible_p99:.0f} ms, {cold.errors} refused"
            )
            continue
        samples.add("Pollroom", outcome.visible_p99)
        taken.add("Pollroom", outcome.rate)
        halves.add("Pollroom", outcome.visible_p50)
        bench.say(
            f"visible round {number + 1}: p50 {outcome.visible_p50:.0f}, p99 {outcome.visible_p99:.0f}, most "
            f"{outcome.visible_max:.0f} ms over {outcome.shown:,} pairs; {outcome.rate:,.0f} votes/s, ack p99 "
            f"{outcome.p99:.0f} ms, CPU of web {cpu / outcome.seconds:.2f}, of the load {outcome.cpu / outcome.seconds:.2f}"
        )
    what = f"vote to visible, {sockets} sockets, {rate} votes/s, p99"
    results.line("visible", what, samples.median("Pollroom"), "ms", "at most two ticks and 50 ms", 250)
    held = taken.median("Pollroom")
    goal = f"{rate} less 5 %"
    results.line("visible", "  votes per second accepted", held, "votes/s", goal, 0.95 * rate, "high")
    results.line("visible", "  p99 of the first round, which does not count", cold.visible_p99, "ms")
    results.line("visible", "  p50", halves.median("Pollroom"), "ms")


def many(bench: Bench, results: Results) -> None:
    """10,000 polls with one vote per second and one viewer each: steady, nothing grows."""
    stack, size = bench.stack, bench.size
    seconds = size(3.0, 0.5)
    polls, people = stack.polls(size(10_000, 20)), stack.crowd(size(1000, 20))
    plan = Plan(bench.path("many.plan"))
    votes = round(seconds * (bench.rounds + 1)) + 2
    for number, poll in enumerate(polls):
        # One viewer each, who votes for the poll and then for those after it: first votes, one a poll and turn.
        plan.connection(opening(people[number % len(people)], poll))
        for turn in range(votes):
            other = polls[(number + turn) % len(polls)]
            plan.ballot(VOTE % (other.id, other.options[0]))
    plan.done()
    used = results.new("many", f"{len(polls)} polls, one vote per second and one viewer each: CPU", "ms/s")
    memory = []
    with stack.worker(), Load(plan.path, stack.port, stack.log("load")) as load:
        load.open()
        for number in range(bench.rounds):
            before = stack.web.cpu()
            outcome = load.run(seconds, 10**9, 4, len(polls))
            used.add("Pollroom", (stack.web.cpu() - before) / outcome.seconds * 1000)
            memory.append(machine.memory_bytes(stack.web.pid) / 2**20)
            bench.say(
                f"many round {number + 1}: {outcome.rate:,.0f} votes/s, p99 {outcome.p99:.0f} ms, "
                f"CPU {used.values['Pollroom'][-1]:.0f} ms/s, {memory[-1]:.0f} MiB, log {stack.log_length()}"
            )
    results.line(
        "many",
        f"{len(polls):,} polls, one vote per second and one viewer each: CPU",
        used.median("Pollroom"),
        "ms/s",
    )
    results.line(
        "many",
        "  memory, last round to first",
        memory[-1] / memory[0],
        "x",
        "nothing grows: at most 1.05",
        1.05,
    )
