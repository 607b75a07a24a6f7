"""Any sequence of votes, changes, retractions, repeats, edits, openings and closings: the scripts against the model.

``HYPOTHESIS_PROFILE=nightly`` tries many more.
"""

import asyncio
import copy
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain.ballots import Ballot, PollState
from app.domain.errors import PollroomError
from tests.ledger.model import Poll
from tests.ledger.world import GENERATION, OPTIONS, OWNER, Answer, World, answers, ballot, options
from tests.plugin import not_tested
from tools.servers import Missing, redis_server
from tools.servers.redis import BINARIES

T = TypeVar("T")

EXAMPLES, STEPS = (1000, 60) if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else (25, 25)
POLLS = ("poll-a", "poll-b")
VOTERS = (OWNER, "ann", "guest", "proven")
FAR = 3_600_000
SOON = 12
"""Milliseconds until a time that is set ahead: votes are sent on both sides of it."""


def guest_of(voter: str) -> bool | Literal["proven"]:
    return "proven" if voter == "proven" else voter == "guest"


polls = st.sampled_from(POLLS)
choices = st.lists(st.sampled_from([*OPTIONS, "o9"]), max_size=4, unique=True).map(tuple)
ballots = st.builds(
    lambda poll, voter, name, chosen, retract: ballot(
        poll, voter, name, *(() if retract else chosen), retract=retract, guest=guest_of(voter)
    ),
    polls,
    st.sampled_from(VOTERS),
    st.sampled_from([*"abcdef", "a" * 21, "a" * 22]),
    # Mostly such that some are taken, whatever the limits.
    st.one_of(st.sampled_from([("o1",), ("o2",), ("o1", "o2"), ("o2", "o1")]), choices),
    st.sampled_from([False, False, True]),
)
batches = st.lists(ballots, min_size=1, max_size=8)
limits = st.sampled_from([(1, 4), (1, 1), (2, 3), (1, 2)])


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        super().__init__()
        self._run = runner.run
        self._url = url
        self._world: World
        self._sent: list[Ballot] = []
        self._polls: dict[str, Poll] = {}

    @initialize(
        kinds=st.tuples(*[st.sampled_from(["open", "open", "draft", "scheduled", "closing"])] * len(POLLS))
    )
    def begin(self, kinds: tuple[str, ...]) -> None:
        self._run(self._begin(kinds))

    async def _begin(self, kinds: Sequence[str]) -> None:
        self._world = World(self._url, self._url, partitions=1, limit=10_000, timeout=5)
        await self._world.direct.flushdb()
        await self._world.open()
        for id, kind in zip(POLLS, kinds, strict=True):
            now = await self._world.time()
            rules_of: dict[str, dict[str, Any]] = {
                "open": {},
                "draft": {"draft": True},
                "scheduled": {"opens_at": now + FAR},
                "closing": {"opens_at": now - 1, "closes_at": now + FAR},
            }
            await self._world.poll(id, **rules_of[kind])
            self._polls[id] = Poll.made(self._world.rules[id], now)

    def teardown(self) -> None:
        try:
            if len(self._polls) == len(POLLS):
                self._run(self._replay())
        finally:
            self._run(self._world.close())

    async def _bracketed(
        self, act: Callable[[], Awaitable[T]], moments: Sequence[int]
    ) -> tuple[T, list[int]]:
        """What ``act`` gave, and the times that it may have happened at, as far as they make a difference."""
        before = await self._world.time()
        result = await act()
        after = await self._world.time()
        return result, [before, *(moment for moment in moments if before < moment <= after)]

    def _moments(self) -> list[int]:
        return sorted({moment for poll in self._polls.values() for moment in (poll.opens, poll.closes)})

    def _agree(self, sent: Sequence[Ballot], got: Sequence[Answer], times: Sequence[int]) -> None:
        """The model takes the same batch, at the time that the ledger did it: one for all of them."""
        fresh = [one.cast_at for one in got if not isinstance(one, str) and not one.repeated]
        expected: list[list[Answer]] = []
        for now in fresh[:1] or times:
            after = copy.deepcopy(self._polls)
            for id in {one.poll_id for one in sent}:
                after[id].settle(now)
            expected.append([after[one.poll_id].cast(one, now) for one in sent])
            if expected[-1] == list(got):
                self._polls = after
                return
        raise AssertionError(f"{got} is none of {expected}")

    def _cast(self, sent: Sequence[Ballot]) -> None:
        self._sent += sent
        got, times = self._run(self._bracketed(lambda: self._world.cast(*sent), self._moments()))
        self._agree(sent, got, times)

    @rule(batch=batches)
    def vote(self, batch: list[Ballot]) -> None:
        self._cast(batch)

    @precondition(lambda self: self._sent)
    @rule(data=st.data())
    def late_copies(self, data: st.DataObject) -> None:
        """Of anything sent before, refused and replaced ones, too, their options in another order."""
        copies = data.draw(st.lists(st.sampled_from(self._sent), min_size=1, max_size=5))
        orders = [tuple(data.draw(st.permutations(one.choices))) for one in copies]
        self._cast(
            [
                Ballot(one.poll_id, one.voter_id, one.guest, one.id, one.retract, order)
                for one, order in zip(copies, orders, strict=True)
            ]
        )

    @rule(poll=polls, voter=st.sampled_from(VOTERS), retract=st.booleans())
    def many_changes(self, poll: str, voter: str, retract: bool) -> None:
        """Up to, and past, the limit of changes, in one batch."""
        guest = guest_of(voter)
        self._cast(
            [
                ballot(
                    poll,
                    voter,
                    f"n{n}",
                    *(() if retract and n % 3 == 2 else (OPTIONS[n % 2],)),
                    retract=retract and n % 3 == 2,
                    guest=guest,
                )
                for n in range(62)
            ]
        )

    def _edit(self, poll: str, batch: Sequence[Ballot] = (), **changes: Any) -> None:
        """As the editor does it: hold, commit, install. ``batch`` is sent in between and waits for the new rules."""
        if self._polls[poll].deleted:
            return
        self._sent += batch
        times = bool({"opens_at", "closes_at"} & set(changes))

        async def act() -> tuple[PollState, bool, list[Answer]]:
            lease = await self._world.lease(poll)
            new = self._world.revise(lease, **changes)
            waiting = [self._world.ledger.cast(one) for one in batch]
            state, late = await self._world.install(lease, new, times=times)
            return state, late, await answers(waiting)

        state, late, got = self._run(act())
        after = self._run(self._world.time())
        model = self._polls[poll]
        assert late == model.install(self._world.rules[poll], state.now, times=times)
        self._compare(poll, state)
        moments = [moment for moment in (model.opens, model.closes) if state.now < moment <= after]
        self._agree(batch, got, [state.now, *moments])

    @rule(
        poll=polls,
        allow_change=st.booleans(),
        guests=st.sampled_from([False, True, "challenge"]),
        batch=st.lists(ballots, max_size=3),
    )
    def edit_permissions(
        self, poll: str, allow_change: bool, guests: bool | str, batch: list[Ballot]
    ) -> None:
        self._edit(
            poll,
            [one for one in batch if one.poll_id == poll],
            allow_change=allow_change,
            guests=bool(guests),
            guest_challenge=guests == "challenge",
        )

    @rule(poll=polls, paused=st.booleans(), batch=st.lists(ballots, max_size=3))
    def pause(self, poll: str, paused: bool, batch: list[Ballot]) -> None:
        self._edit(poll, [one for one in batch if one.poll_id == poll], paused=paused)

    @rule(
        poll=polls,
        low_high=limits,
        count=st.sampled_from([4, 3]),
        shift=st.booleans(),
        verifiable=st.booleans(),
    )
    def edit_choices(
        self, poll: str, low_high: tuple[int, int], count: int, shift: bool, verifiable: bool
    ) -> None:
        """Options and limits, before the first vote."""
        if not self._polls[poll].accepted:
            ids = OPTIONS[::-1][:count] if shift else OPTIONS[:count]
            self._edit(
                poll,
                options=options(ids),
                min_choices=low_high[0],
                max_choices=min(low_high[1], count),
                verifiable=verifiable,
            )

    @rule(poll=polls, batch=batches)
    def close_by_time(self, poll: str, batch: list[Ballot]) -> None:
        """Votes on both sides of ``closesAt``."""
        if self._polls[poll].deleted:
            return
        self._edit(poll, closes_at=self._run(self._world.time()) + SOON)
        self._cast(batch)
        self._run(self._world.until(self._polls[poll].closes))
        self._cast(batch)

    @rule(poll=polls)
    def reschedule(self, poll: str) -> None:
        """Never closing by itself, also where it has closed by itself."""
        self._edit(poll, closes_at=None)

    @rule(poll=polls)
    def close(self, poll: str) -> None:
        async def act() -> PollState | str:
            try:
                return await self._world.ledger.close(poll)
            except PollroomError as error:
                return error.code

        got, times = self._run(self._bracketed(act, self._moments()))
        model = self._polls[poll]
        if isinstance(got, PollState):
            assert model.close(got.now) is None
            self._compare(poll, got)
        else:
            assert got in [copy.deepcopy(model).close(now) for now in times]

    @rule(poll=polls, batch=batches)
    def open(self, poll: str, batch: list[Ballot]) -> None:
        """By its owner; votes in between wait for it."""
        if not self._polls[poll].opened:
            now = self._run(self._world.time())
            self._edit(poll, [one for one in batch if one.poll_id == poll], draft=False, opens_at=now)

    @rule(poll=polls, batch=batches)
    def open_by_time(self, poll: str, batch: list[Ballot]) -> None:
        """Votes on both sides of ``opensAt``."""
        model = self._polls[poll]
        if not (model.opened or model.rules.draft or model.deleted):
            self._edit(poll, opens_at=self._run(self._world.time()) + SOON)
            self._cast(batch)
            self._run(self._world.until(self._polls[poll].opens))
            self._cast(batch)

    @rule(poll=polls)
    def delete(self, poll: str) -> None:
        state = self._run(self._world.ledger.delete(poll))
        self._polls[poll].delete()
        self._compare(poll, state)

    @rule(poll=polls)
    def let_go(self, poll: str) -> None:
        """An edit that changed nothing."""

        async def act() -> None:
            await self._world.ledger.release(await self._world.lease(poll))

        self._run(act())

    @invariant()
    def recount(self) -> None:
        for id, poll in self._polls.items():
            for voter in VOTERS:
                state, standing = self._run(self._world.ledger.read(id, voter))
                poll.settle(state.now)
                self._compare(id, state)
                assert standing == (poll.past[voter].standing if voter in poll.past else None)

    def _compare(self, id: str, state: PollState) -> None:
        poll = self._polls[id]
        counts = {option: n for option, n in state.counts.items() if n}
        assert (state.seq, state.voters, counts) == (poll.seq, poll.voters, poll.counts)
        assert (state.version, state.epoch) == (poll.rules.version, GENERATION)
        assert (state.opened, state.closed, state.deleted) == (poll.opened, poll.closed, poll.deleted)
        assert (state.opens, state.closes, state.draft) == (poll.opens, poll.closes, poll.rules.draft)
        assert state.accepted == poll.accepted

    async def _replay(self) -> None:
        """The log alone gives the model's ballots, every seq once."""
        rows: dict[tuple[str, str], list[Any]] = {}
        seqs = dict.fromkeys(self._polls, 0)
        ends: dict[str, dict[str, int]] = {id: {} for id in self._polls}
        for _, entry in await self._world.log():
            if entry[0] == "b":
                _, id, voter, n, _, retract, _, seq, *_ = entry
                known = rows.get((id, voter))
                nothing = retract and (known is None or not known[6])
                assert seq == seqs[id] + (0 if nothing else 1), entry
                if known is None or known[3] < n:
                    rows[id, voter] = entry
            else:
                _, kind, id, seq, at = entry
                assert seq == seqs[id] + 1
                ends[id][kind] = at
            seqs[id] = seq
        for id, poll in self._polls.items():
            assert seqs[id] == poll.seq
            assert ends[id].get("close", 0) == poll.closed
            assert ("delete" in ends[id]) == poll.deleted
            assert {voter for known, voter in rows if known == id} == set(poll.past)
            for voter, past in poll.past.items():
                first = [[t.id, t.retract, list(t.choices), t.seq, t.at] for t in past.taken]
                _, _, _, n, *last, accepted, earlier = rows[id, voter]
                assert (n, [*earlier, last], bool(accepted)) == (len(first), first, past.accepted)


@pytest.fixture(scope="module", params=BINARIES)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each server that Pollroom meets without configuration. Nothing here is about the disk."""
    folder: Path = tmp_path_factory.mktemp("redis")
    try:
        binary = BINARIES[request.param]()
        with redis_server(folder, binary=binary, appendonly="no") as server:
            yield server.url
    except Missing as error:
        not_tested(error)


@pytest.mark.timeout(1800)
def test_the_scripts_agree_with_the_model(url: str) -> None:
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            partial(LedgerMachine, runner, url),  # type: ignore[arg-type]
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
