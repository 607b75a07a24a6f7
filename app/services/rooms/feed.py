"""The feed of one poll that is watched on this instance: its newest rules, state and viewers, and what is published."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from ...domain.ballots import PollState
from ...domain.polls import PollView, Rules
from ...domain.values import rfc3339
from ...domain.visibility import may_see, tally
from .messages import PollChanged, PollDeleted, PollUpdate
from .presence import Viewers

Show = Callable[[Rules, PollState], PollView]


class Feed:
    """``state`` and ``rules`` belong together. ``pending``: newer states whose rules or rights are still being fetched.

    ``newest``: order of the newest state in ``pending`` or ``state``. ``catching_up``: a task applies ``pending`` in order.
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
        return (
            rules.results_visibility == "after_vote" and not state.closed and self.changes_poll(rules, state)
        )

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Publication:
    """A message about a feed's current state, with counts and without, each encoded when it is first needed."""

    def __init__(self, kind: str, feed: Feed, now: int) -> None:
        self.kind = kind
        self.poll_id = feed.poll_id
        self._rules = feed.rules
        self._state = feed.state
        self._viewers = feed.viewers.total
        self._show = feed.show
        self._now = max(now, feed.state.now)
        self._encoded: dict[bool, bytes] = {}

    @property
    def order(self) -> tuple[int, int] | None:
        """``(epoch, seq)`` of the tally that it carries, if any."""
        return None if self.kind == "POLL_DELETED" else self._state.order

    def may_see_counts(self, *, owner: bool, voted: bool) -> bool:
        return may_see(self._rules, self._state, owner=owner, voted=voted)

    def encoded(self, counts: bool) -> bytes:
        known = self._encoded.get(counts)
        if known is None:
            known = self._encoded[counts] = msgspec.json.encode(self._message(counts))
        return known

    def _message(self, counts: bool) -> PollUpdate | PollChanged | PollDeleted:
        if self.kind == "POLL_DELETED":
            return PollDeleted(self.poll_id)
        result, time_ = tally(self._rules, self._state, counts=counts), rfc3339(self._now)
        if self.kind == "POLL_CHANGED":
            return PollChanged(self._show(self._rules, self._state), result, time_)
        return PollUpdate(self.poll_id, result, self._viewers, time_)
