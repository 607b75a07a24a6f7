"""The run: accounts and polls, then everybody comes, then everybody votes, then the tallies are compared."""

import asyncio
import random
import resource
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from .api import THREADS, Api, Refused
from .hall import Ballots, Gate, Hall
from .plan import OPTIONS, Plan
from .report import Latency, Outcome, Report
from .screen import Screen
from .voter import Voter

SPARE_FILES: Final = 100
DRAW_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 1.0
LAST_TALLY_SECONDS: Final = 10.0
"""A server that missed a publication reads every tally anew within 5 s."""
GOODBYE_SECONDS: Final = 0.2
HEAVIEST: Final = 5


class TooFewFiles(Exception):
    """This process may not open that many sockets. ``str()`` is a sentence for the operator."""


async def simulate(plan: Plan, screen: Screen) -> Report:
    """Raises ``Refused`` where accounts, polls or results cannot be had, and ``TooFewFiles``."""
    allow_files(plan.voters + SPARE_FILES)
    began = time.monotonic()
    api, hall = (
        Api(plan.instances, plan.patience, lambda text: screen.write([text])),
        Hall(plan.instances, plan.voters),
    )
    voters: list[Voter] = []
    background: list[asyncio.Task[None]] = []
    try:
        owner = await _owner(api)
        polls = await asyncio.gather(*(_poll(api, owner, number) for number in range(1, plan.polls + 1)))
        background += [
            asyncio.ensure_future(_every(DRAW_SECONDS, lambda: screen.draw(polls))),
            asyncio.ensure_future(_every(LOOK_SECONDS, lambda: _look(voters))),
        ]
        guests = Gate(plan.voters)
        screen.stage("guests", guests)
        for number, token in enumerate(await _guests(api, guests)):
            poll = polls[number % len(polls)]
            option = random.choices(list(poll.options), poll.weights)[0]
            # Both each poll's voters and all together are spread evenly over the instances.
            voters.append(Voter(hall, token, poll, option, turn=number // len(polls) + number % len(polls)))
        screen.stage("in the room", hall.arrived)
        await _ramp(voters, plan.ramp, Voter.come)
        await _within(plan.patience, hall.arrived.open.wait())
        screen.stage("votes", hall.settled)
        await _ramp(voters, plan.ramp, Voter.vote)
        await _within(plan.patience, hall.settled.open.wait())
        await asyncio.sleep(plan.stay)
        results = await asyncio.gather(*(_outcome(api, plan.instances, owner, poll) for poll in polls))
        up_to_date = await _up_to_date(voters, plan.patience)
        screen.end(polls)
    finally:
        hall.closing = True
        for task in background:
            task.cancel()
        for voter in voters:
            voter.go()
        await asyncio.gather(*background, return_exceptions=True)
        api.close()
    await asyncio.sleep(GOODBYE_SECONDS)
    return _report(plan, hall, voters, results, up_to_date, time.monotonic() - began)


def allow_files(number: int) -> None:
    """Raise the soft limit of open files to the hard one. Raises ``TooFewFiles`` where that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise TooFewFiles(f"{number} open files are needed and {hard} allowed here: raise `ulimit -Hn`.")
    if soft != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # some systems take no unlimited soft limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))


async def _owner(api: Api) -> str:
    """The access token of a new account."""
    account = {
        "email": f"simulate-{secrets.token_hex(8)}@example.org",
        "password": secrets.token_urlsafe(24),
    }
    try:
        session = await api.call("POST", "/auth/register", account | {"name": "Simulation"})
    except Refused as refused:
        if refused.code != "EMAIL_TAKEN":  # by an earlier sending, whose answer was lost
            raise
        session = await api.call("POST", "/auth/login", account)
    return str(session["accessToken"])


async def _poll(api: Api, owner: str, number: int) -> Ballots:
    body = {"question": f"What shall we drink? ({number})", "options": list(OPTIONS), "guests": True}
    answer = await api.call("POST", "/polls", body, owner, key=secrets.token_hex(16))
    poll = answer["poll"]
    options = {option["id"]: option["label"] for option in poll["options"]}
    weights = [random.randint(1, HEAVIEST) for _ in options]
    return Ballots(poll["id"], poll["question"], options, weights)


async def _guests(api: Api, gate: Gate) -> list[str]:
    """An access token for each."""
    tokens: list[str] = []
    left = iter(range(gate.number))

    async def some() -> None:
        for _ in left:
            tokens.append((await api.call("POST", "/auth/guest", {}))["accessToken"])
            gate.passed()

    await asyncio.gather(*(some() for _ in range(THREADS)))
    return tokens


async def _outcome(api: Api, instances: tuple[str, ...], owner: str, poll: Ballots) -> Outcome:
    acked = {option: poll.acked[option] for option in poll.options}
    tallies: dict[str, dict[str, int]] = {}
    voters = 0
    equal = True
    for base in instances:
        tally = (await api.call("GET", f"/polls/{poll.id}/results", token=owner, base=base))["tally"]
        tallies[base] = {option: tally["counts"].get(option, 0) for option in poll.options}
        voters = tally["voters"]
        poll.final = max(poll.final, (tally["epoch"], tally["seq"]))
        equal = equal and tallies[base] == acked and voters == sum(acked.values())
    return Outcome(poll.id, poll.question, acked, tallies, voters, equal)


async def _up_to_date(voters: list[Voter], patience: float) -> int:
    """How many show the tally that ``results`` had, or a later one.

    A voter whose connection was lost may still wait for its turn to reconnect, up to ``maxDelay``: it is waited for. Those
    in their rooms then have ``LAST_TALLY_SECONDS``.
    """
    until = time.monotonic() + patience
    while not all(voter.present or voter.failed for voter in voters) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(DRAW_SECONDS)
    until = time.monotonic() + LAST_TALLY_SECONDS
    while True:
        number = sum(voter.up_to_date for voter in voters)
        if number == len(voters) or time.monotonic() > until:
            return number
        await asyncio.sleep(DRAW_SECONDS)


def _look(voters: list[Voter]) -> None:
    now = time.monotonic()
    for voter in voters:
        voter.look(now)


async def _ramp(voters: list[Voter], seconds: float, act: Callable[[Voter], None]) -> None:
    """Each in turn, evenly over that time."""
    began = time.monotonic()
    for number, voter in enumerate(voters):
        await asyncio.sleep(max(0.0, began + seconds * number / len(voters) - time.monotonic()))
        act(voter)


async def _within(seconds: float, work: Awaitable[Any]) -> None:
    """Wait for it, no longer than that: what is missing then shows in the report."""
    with suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)


async def _every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        act()
        await asyncio.sleep(seconds)


def _report(
    plan: Plan, hall: Hall, voters: list[Voter], results: list[Outcome], up_to_date: int, seconds: float
) -> Report:
    return Report(
        voters=plan.voters,
        polls=plan.polls,
        instances=plan.instances,
        acked=sum(voter.acknowledged for voter in voters),
        repeated=hall.repeated,
        refused=dict(hall.refused),
        failed=dict(hall.failed),
        unknown=sum(not voter.settled and not voter.acknowledged for voter in voters),
        unseen=sum(not voter.settled and voter.acknowledged for voter in voters),
        up_to_date=up_to_date,
        resent=dict(hall.resent),
        lost={str(code): number for code, number in hall.lost.items()},
        broken=dict(hall.broken),
        ack=Latency.of(hall.acks),
        visible=Latency.of(hall.sights),
        absent=Latency.of(hall.absences),
        results=results,
        seconds=round(seconds, 1),
        equal=all(each.equal for each in results),
    )
