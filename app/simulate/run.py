"""The run: accounts and polls, then everybody comes, then everybody votes, then the tallies are compared."""

import asyncio
import random
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from . import calls
from .api import Api
from .follower import Follower
from .guest import Guest
from .hall import Ballots, Gate, Hall
from .plan import Plan
from .report import Latency, Outcome, Report
from .screen import Screen
from .voter import Voter

SPARE_FILES: Final = 100
DRAW_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 1.0
LAST_TALLY_SECONDS: Final = 10.0
"""A server that missed a publication reads every tally anew within 5 s."""
GOODBYE_SECONDS: Final = 0.2

T = TypeVar("T", bound=Guest)


class TooFewFiles(Exception):
    """This process may not open that many sockets. ``str()`` is a sentence for the operator."""


async def simulate(plan: Plan, screen: Screen) -> Report:
    """Raises ``Refused`` where accounts, polls or results cannot be had, and ``TooFewFiles``."""
    allow_files(plan.voters + SPARE_FILES)
    began = time.monotonic()
    api, hall = (
        Api(plan.instances, plan.patience, lambda text: screen.write([text])),
        Hall(plan.instances, plan.voters, plan.voters * (plan.deck or 1)),
    )
    voters: list[Guest] = []
    background: list[asyncio.Task[None]] = []
    try:
        owner = await calls.register(api)
        polls = await asyncio.gather(
            *(
                calls.create_poll(api, owner, number + 1, draft=bool(plan.deck))
                for number in range(plan.deck or plan.polls)
            )
        )
        deck_id = await calls.create_deck(api, owner, polls) if plan.deck else ""
        background += [
            asyncio.ensure_future(_every(DRAW_SECONDS, lambda: screen.draw(polls))),
            asyncio.ensure_future(_every(LOOK_SECONDS, lambda: _look(voters))),
        ]
        guests = Gate(plan.voters)
        screen.stage("guests", guests)
        for number, token in enumerate(await calls.guests(api, guests)):
            if deck_id:
                questions = {poll.id: poll for poll in polls}
                voters.append(Follower(hall, token, deck_id, questions, plan.ramp, number))
                continue
            poll = polls[number % len(polls)]
            option = random.choices(list(poll.options), poll.weights)[0]
            # Both each poll's voters and all together are spread evenly over the instances.
            voters.append(Voter(hall, token, poll, option, turn=number // len(polls) + number % len(polls)))
        screen.stage("in the room", hall.arrived)
        await _ramp(voters, plan.ramp, Guest.come)
        await _within(plan.patience, hall.arrived.open.wait())
        screen.stage("votes", hall.settled)
        if deck_id:
            await _quiz(api, owner, deck_id, polls, plan, voters)
        else:
            await _ramp([voter for voter in voters if isinstance(voter, Voter)], plan.ramp, Voter.vote)
            await _within(plan.patience, hall.settled.open.wait())
        await asyncio.sleep(plan.stay)
        results = await asyncio.gather(*(calls.outcome(api, plan.instances, owner, poll) for poll in polls))
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


async def _quiz(
    api: Api, owner: str, deck_id: str, polls: list[Ballots], plan: Plan, voters: list[Guest]
) -> None:
    """The host moves on whether or not everybody has answered; then what is not known is waited for."""
    for poll in polls:
        await calls.move(api, owner, deck_id, poll)
        await asyncio.sleep(plan.ramp)
    until = time.monotonic() + plan.patience
    while any(voter.unknown for voter in voters) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(DRAW_SECONDS)
    await calls.end(api, owner, deck_id)


async def _up_to_date(voters: list[Guest], patience: float) -> int:
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


def _look(voters: list[Guest]) -> None:
    now = time.monotonic()
    for voter in voters:
        voter.look(now)


async def _ramp(voters: list[T], seconds: float, act: Callable[[T], None]) -> None:
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
    plan: Plan, hall: Hall, voters: list[Guest], results: list[Outcome], up_to_date: int, seconds: float
) -> Report:
    return Report(
        voters=plan.voters,
        polls=plan.deck or plan.polls,
        ballots=sum(voter.attempts for voter in voters),
        instances=plan.instances,
        acked=sum(voter.acknowledged for voter in voters),
        repeated=hall.repeated,
        refused=dict(hall.refused),
        failed=dict(hall.failed),
        unknown=sum(voter.unknown for voter in voters),
        unseen=sum(voter.unseen for voter in voters),
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
