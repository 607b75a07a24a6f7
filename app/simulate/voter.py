"""One voter: comes, authenticates, joins, votes once, and comes back by the contract's rules when the connection is lost."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from ..domain.values import new_id
from .hall import Ballots, Hall
from .link import Link, Message, Tally

AGAIN: Final = frozenset({"UNAVAILABLE", "INTERNAL", "RATE_LIMITED"})
"""``RATE_LIMITED`` was not taken, the others are not known: in each case the same message goes out again."""
FOR_GOOD: Final = frozenset({1003, 1007, 1009, 4400, 4401, 4403, 4404, 4426})
"""Close codes, and refused upgrades as 4000 + status, after which it is of no use to come back unchanged."""
SLOW_DOWN: Final = 4429
ANSWER_SECONDS: Final = 10.0
"""An answer that takes longer means a lost connection."""
KEPT_TALLIES: Final = 1000


class Voter:
    """Settled when its vote was acknowledged and seen in a tally, or was refused, or when it gave up.

    Times of ``time.monotonic``, 0 for none: ``_sent`` the first sending of the ballot; ``_asked`` what this connection
    has not answered yet; ``_away`` since when it is not in the room, though it was. ``_wanted``: the first tally that
    includes the ballot.
    """

    __slots__ = (
        "_acked", "_asked", "_away", "_ballot_id", "_epoch", "_hall", "_link", "_option", "_poll", "_present",
        "_retries", "_sent", "_tallies", "_token", "_turn", "_wanted", "_wants", "arrived", "failed", "last",
        "settled",
    )  # fmt: skip

    def __init__(self, hall: Hall, token: str, poll: Ballots, option: str, turn: int) -> None:
        """``turn``: which instance it goes to first; after each lost connection the next one."""
        self._hall = hall
        self._token = token
        self._poll = poll
        self._option = option
        self._turn = turn
        self._ballot_id = new_id()
        self._link: Link | None = None
        self._retries = 0
        self._present = self._wants = False
        self._sent = self._asked = self._away = self._acked = 0.0
        self._epoch = 0
        self._wanted = (0, 0)
        self._tallies: deque[tuple[float, tuple[int, int]]] = deque(maxlen=KEPT_TALLIES)
        self.arrived = self.settled = self.failed = False
        self.last: Tally | None = None
        """The newest tally that this connection showed."""

    @property
    def acknowledged(self) -> bool:
        return self._acked > 0

    @property
    def present(self) -> bool:
        """Whether it is in its poll's room now."""
        return self._present

    @property
    def up_to_date(self) -> bool:
        return self.last is not None and self.last.order >= self._poll.final

    def come(self) -> None:
        if not self._hall.closing:
            self._asked = time.monotonic()
            self._link = self._hall.link(self, self._turn)

    def vote(self) -> None:
        """Now, or as soon as it is in the room."""
        self._wants = True
        if self._present and not self._acked and not self.settled:
            self._asked = time.monotonic()
            if not self._sent:
                self._sent, self._epoch = self._asked, self.last.epoch if self.last else 0
            self._send(
                {"type": "VOTE", "id": self._ballot_id, "pollId": self._poll.id, "optionId": self._option}
            )

    def look(self, now: float) -> None:
        """Drop a connection that does not answer, or that is silent for longer than the server's pings allow."""
        link = self._link
        if link is None:
            return
        if (self._asked and now - self._asked > ANSWER_SECONDS) or now - link.heard > link.silence:
            link.abort()
            self.lost(link, 0)

    def go(self) -> None:
        if self._link is not None:
            self._link.close()

    def received(self, message: Message, at: float) -> None:
        if message.tally is not None and message.type != "POLL_DELETED":
            self._see(message.tally, at)
        match message.type:
            case "WELCOME":
                self._welcomed(message)
            case "POLL_STATE":
                self._joined(at)
            case "VOTE_ACCEPTED" if message.id == self._ballot_id and not self._acked:
                self._accepted(message.seq or 0, message.repeated, at)
            case "ERROR":
                self._error(message)

    def lost(self, link: Link, code: int) -> None:
        """``code`` 0: it was given up as silent."""
        if link is not self._link:
            return
        self._link = None
        self._asked = 0.0
        if self._present:
            self._present, self._away, self.last = False, time.monotonic(), None
        if self._hall.closing:
            return
        self._hall.lost[code] += 1
        if code in FOR_GOOD:
            self._fail(f"closed with {code}")
            return
        if code == SLOW_DOWN:
            self._retries = 16
        self._turn += 1
        self._later(self.come)

    def _welcomed(self, message: Message) -> None:
        if message.reconnect is not None:
            self._hall.delays = message.reconnect
        if self._link is not None:
            self._link.silence = 2 * message.ping_interval + ANSWER_SECONDS
        self._send({"type": "AUTH", "token": self._token})
        self._join()

    def _join(self) -> None:
        if not self._present:
            self._asked = time.monotonic()
            self._send({"type": "JOIN_POLL", "pollId": self._poll.id})

    def _joined(self, at: float) -> None:
        self._present, self._retries, self._asked = True, 0, 0.0
        if self._away:
            self._hall.absences.append(at - self._away)
            self._away = 0.0
        if not self.arrived:
            self.arrived = True
            self._hall.arrived.passed()
        if self._wants:
            self._hall.resent["lost connection"] += bool(self._sent and not self._acked)
            self.vote()

    def _accepted(self, seq: int, repeated: bool, at: float) -> None:
        self._acked, self._asked = at, 0.0
        self._hall.acks.append(at - self._sent)
        self._hall.repeated += repeated
        if not self._poll.count(self._option, seq):
            self._hall.broken["two ballots with one seq"] += 1
        self._wants, self._wanted = False, (self._epoch, seq)
        early = next((seen for seen, order in self._tallies if order >= self._wanted), None)
        self._tallies.clear()
        if early is not None:
            self._visible(early)

    def _see(self, tally: Tally, at: float) -> None:
        if self.last is not None and tally.order < self.last.order:
            self._hall.broken["a tally went back"] += 1
        self.last = tally
        newest = self._poll.newest
        if newest is None or tally.order > newest.order:
            self._poll.newest = tally
        if self.settled or not self._sent:
            return
        if not self._acked:
            self._tallies.append((at, tally.order))
        elif tally.order >= self._wanted:
            self._visible(at)

    def _visible(self, at: float) -> None:
        self._hall.sights.append(at - self._sent)
        self._settle()

    def _error(self, message: Message) -> None:
        code = message.code or "?"
        ballot = message.id == self._ballot_id
        if ballot and self._acked:
            return
        if code in AGAIN:
            self._asked = 0.0
            self._hall.resent[code] += 1
            self._later(
                partial(self._still, self._link, self.vote if ballot else self._join), message.retry_after
            )
        elif ballot:
            self._asked = 0.0
            self._hall.refused[code] += 1
            self._settle()
        elif code not in ("UNAUTHENTICATED", "TOKEN_EXPIRED"):  # after these comes 4401
            self._fail(code)

    def _still(self, link: Link | None, act: Callable[[], None]) -> None:
        """A connection that came later does all of it by itself."""
        if link is self._link:
            act()

    def _fail(self, reason: str) -> None:
        """Give up: reconnecting or resending would not help."""
        self.failed = True
        if not self.arrived:
            self.arrived = True
            self._hall.arrived.passed()
        if not self.settled:
            self._hall.failed[reason] += 1
            self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._hall.settled.passed()

    def _later(self, act: Callable[[], None], least: float = 0.0) -> None:
        delays = self._hall.delays
        longest = min(delays.max_delay, delays.min_delay * 2.0**self._retries)
        self._retries += 1
        asyncio.get_running_loop().call_later(least + random.uniform(0, longest), act)

    def _send(self, message: dict[str, str]) -> None:
        if self._link is not None:
            self._link.send(message)
