"""One voter of one poll: votes once, and sends the ballot again until it is answered."""

import time
from collections import deque
from functools import partial
from typing import Final

from ..domain.values import new_id
from .guest import AGAIN, Guest
from .hall import Ballots, Hall
from .link import Message, Tally

KEPT_TALLIES: Final = 1000


class Voter(Guest):
    """Settled when its vote was acknowledged and seen in a tally, or was refused, or when it gave up.

    Times as in ``Guest``: ``_sent`` the first sending of the ballot. ``_wanted``: the first tally that includes the ballot.
    """

    def __init__(self, hall: Hall, token: str, poll: Ballots, option: str, turn: int) -> None:
        super().__init__(hall, token, turn)
        self._poll = poll
        self._option = option
        self._ballot_id = new_id()
        self._wants = False
        self._sent = self._acked = 0.0
        self._epoch = 0
        self._wanted = (0, 0)
        self._tallies: deque[tuple[float, tuple[int, int]]] = deque(maxlen=KEPT_TALLIES)
        self.settled = False

    @property
    def acknowledged(self) -> int:
        return int(self._acked > 0)

    @property
    def unknown(self) -> int:
        return int(not self.settled and not self._acked)

    @property
    def unseen(self) -> int:
        return int(not self.settled and self._acked > 0)

    @property
    def attempts(self) -> int:
        return 1

    @property
    def up_to_date(self) -> bool:
        return self.last is not None and self.last.order >= self._poll.final

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

    def _enter(self) -> None:
        self._send({"type": "JOIN_POLL", "pollId": self._poll.id})

    def _joined(self, at: float) -> None:
        super()._joined(at)
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

    def _give_up(self, reason: str) -> None:
        if not self.settled:
            self._hall.failed[reason] += 1
            self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._hall.settled.passed()
