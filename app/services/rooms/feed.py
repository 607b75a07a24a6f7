"""One poll that is watched on this instance: its newest rules, state and viewers, and what goes out about them."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from ...domain.ballots import PollState, Tally
from ...domain.polls import PollView, Rules
from ...domain.values import Camel, rfc3339
from ...domain.visibility import may_see, tally
from .presence import Viewers

Show = Callable[[Rules, PollState], PollView]


class PollUpdate(Camel, tag_field="type", tag="POLL_UPDATE"):
    poll_id: str
    tally: Tally
    viewers: int
    server_time: str


class PollChanged(Camel, tag_field="type", tag="POLL_CHANGED"):
    poll: PollView
    tally: Tally
    server_time: str


class PollDeleted(Camel, tag_field="type", tag="POLL_DELETED"):
    poll_id: str


class Feed:
    """``state`` and ``rules`` belong together. ``pending``: newer states whose rules or readers are still being fetched."""

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
        """Whether more than the tally differs."""
        old = self.state
        return (rules.version, state.opened, state.closed, state.opens, state.closes) != (
            self.rules.version,
            old.opened,
            old.closed,
            old.opens,
            old.closes,
        )

    def changes_rights(self, rules: Rules, state: PollState) -> bool:
        """Whether sockets learn with this change what they may see: the ledger knows who has voted."""
        return (
            rules.results_visibility == "after_vote" and not state.closed and self.changes_poll(rules, state)
        )

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Publication:
    """What a feed has to say now: a message for those who may see the counts and one for the rest, made when asked for."""

    def __init__(self, kind: str, feed: Feed, now: int) -> None:
        self.kind = kind
        self.poll_id = feed.poll_id
        self._rules = feed.rules
        self._state = feed.state
        self._viewers = feed.viewers.total
        self._show = feed.show
        self._now = max(now, feed.state.now)
        self._encoded: dict[bool, bytes] = {}

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
