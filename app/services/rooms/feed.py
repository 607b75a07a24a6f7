"""The feed of one poll that is watched on this instance: its newest rules, state and viewers, and what is published."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from ...domain.ballots import PollState, Tally
from ...domain.polls import PollView, Rules
from ...domain.values import rfc3339
from ...domain.visibility import may_see, tally
from .messages import PollChanged, PollDeleted, PollUpdate
from .presence import MANY, MANY_SECONDS, Viewers

Show = Callable[[Rules, PollState], PollView]


def rights_follow_votes(rules: Rules, state: PollState) -> bool:
    """Whether those who voted see counts and the others do not."""
    return rules.results_visibility == "after_vote" and not state.closed


class Feed:
    """``state`` and ``rules`` belong together. ``pending``: newer states whose rules or rights are still being fetched.

    ``newest``: order of the newest state in ``pending`` or ``state``. ``catching_up``: a task applies ``pending`` in order.
    ``told``: when the last ``POLL_UPDATE`` went out; ``busy_until``: when the next one may. ``only_viewers``: nothing else
    has changed since.
    """

    def __init__(self, rules: Rules, state: PollState, silence_seconds: float, show: Show) -> None:
        self.poll_id = rules.id
        self.show = show
        self.rules = rules
        self.state = state
        self.viewers = Viewers(rules.id, silence_seconds)
        self.pending: deque[tuple[PollState, Rules | None]] = deque()
        self.newest = state.order
        self.catching_up = False
        self.moved = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self.told = self.busy_until = 0.0
        self.only_viewers = True

    def due_at(self) -> float:
        """When the next ``POLL_UPDATE`` may go out, by ``time.monotonic``."""
        if self.only_viewers and self.viewers.total > MANY:
            return max(self.busy_until, self.told + MANY_SECONDS)
        return self.busy_until

    def changes_poll(self, rules: Rules, state: PollState) -> bool:
        """Whether more than the tally changes."""
        old = self.state
        return (rules.version, state.opened, state.closed, state.opens, state.closes, state.commitment) != (
            self.rules.version,
            old.opened,
            old.closed,
            old.opens,
            old.closes,
            old.commitment,
        )

    def changes_rights(self, rules: Rules, state: PollState) -> bool:
        """Whether this change decides anew who sees counts: then the ledger is asked who has voted."""
        return rights_follow_votes(rules, state) and self.changes_poll(rules, state)

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Publication(ABC):
    """A message to a room, with counts and without, each encoded when it is first needed.

    ``room_id``: the poll or deck that it is about. ``order``: ``(epoch, seq)`` of the tally that it carries, if any.
    """

    kind: str
    room_id: str
    order: tuple[int, int] | None

    def __init__(self) -> None:
        self._encoded: dict[bool, bytes] = {}

    @abstractmethod
    def may_see_counts(self, *, owner: bool, voted: bool) -> bool: ...

    @abstractmethod
    def message(self, counts: bool) -> Struct: ...

    def encoded(self, counts: bool) -> bytes:
        known = self._encoded.get(counts)
        if known is None:
            known = self._encoded[counts] = msgspec.json.encode(self.message(counts))
        return known


class PollPublication(Publication):
    """A message about the current state of a poll's feed."""

    def __init__(self, kind: str, feed: Feed, now: int) -> None:
        super().__init__()
        self.kind = kind
        self.room_id = feed.poll_id
        self.order = None if kind == "POLL_DELETED" else feed.state.order
        self._rules = feed.rules
        self._state = feed.state
        self._viewers = feed.viewers.total
        self._show = feed.show
        self.now = max(now, feed.state.now)

    def may_see_counts(self, *, owner: bool, voted: bool) -> bool:
        return may_see(self._rules, self._state, owner=owner, voted=voted)

    def poll(self) -> PollView:
        return self._show(self._rules, self._state)

    def tally(self, counts: bool) -> Tally:
        return tally(self._rules, self._state, counts=counts)

    def message(self, counts: bool) -> Struct:
        if self.kind == "POLL_DELETED":
            return PollDeleted(self.room_id)
        time_ = rfc3339(self.now)
        if self.kind == "POLL_CHANGED":
            return PollChanged(self.poll(), self.tally(counts), time_)
        return PollUpdate(self.room_id, self.tally(counts), self._viewers, time_)
