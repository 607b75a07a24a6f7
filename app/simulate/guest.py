"""One guest's connection: comes, authenticates, joins, and comes back by the contract's rules when it is lost."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from .hall import Hall
from .link import Link, Message, Tally

AGAIN: Final = frozenset({"UNAVAILABLE", "INTERNAL", "RATE_LIMITED"})
"""``RATE_LIMITED`` was not taken, the others are not known: in each case the same message goes out again."""
FOR_GOOD: Final = frozenset({1003, 1007, 1009, 4400, 4401, 4403, 4404, 4426})
"""Close codes, and refused upgrades as 4000 + status, after which it is of no use to come back unchanged."""
SLOW_DOWN: Final = 4429
ANSWER_SECONDS: Final = 10.0
"""An answer that takes longer means a lost connection."""


class Guest(ABC):
    """``acknowledged``, ``unknown`` (without any answer), ``unseen`` (acknowledged, and in no tally that it got) and
    ``attempts``: numbers of ballots.

    Times of ``time.monotonic``, 0 for none: ``_asked`` what this connection has not answered yet; ``_away`` since when
    it is not in the room, though it was.
    """

    def __init__(self, hall: Hall, token: str, turn: int) -> None:
        """``turn``: which instance it goes to first; after each lost connection the next one."""
        self._hall = hall
        self._token = token
        self._turn = turn
        self._link: Link | None = None
        self._retries = 0
        self._present = False
        self._asked = self._away = 0.0
        self.arrived = self.failed = False
        self.last: Tally | None = None
        """The newest tally that this connection showed."""

    @property
    def present(self) -> bool:
        """Whether it is in its room now."""
        return self._present

    @property
    @abstractmethod
    def acknowledged(self) -> int: ...

    @property
    @abstractmethod
    def unknown(self) -> int: ...

    @property
    @abstractmethod
    def unseen(self) -> int: ...

    @property
    @abstractmethod
    def attempts(self) -> int: ...

    @property
    @abstractmethod
    def up_to_date(self) -> bool:
        """Whether it shows the last tally."""

    @abstractmethod
    def received(self, message: Message, at: float) -> None: ...

    @abstractmethod
    def _enter(self) -> None:
        """Ask to join the room."""

    @abstractmethod
    def _give_up(self, reason: str) -> None:
        """Reconnecting or sending again would not help."""

    def come(self) -> None:
        if not self._hall.closing:
            self._asked = time.monotonic()
            self._link = self._hall.link(self, self._turn)

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
            self._enter()

    def _joined(self, at: float) -> None:
        self._present, self._retries, self._asked = True, 0, 0.0
        if self._away:
            self._hall.absences.append(at - self._away)
            self._away = 0.0
        self._arrive()

    def _arrive(self) -> None:
        if not self.arrived:
            self.arrived = True
            self._hall.arrived.passed()

    def _fail(self, reason: str) -> None:
        self.failed = True
        self._arrive()
        self._give_up(reason)

    def _still(self, link: Link | None, act: Callable[[], None]) -> None:
        """A connection that came later does all of it by itself."""
        if link is self._link:
            act()

    def _later(self, act: Callable[[], None], least: float = 0.0) -> None:
        delays = self._hall.delays
        longest = min(delays.max_delay, delays.min_delay * 2.0**self._retries)
        self._retries += 1
        asyncio.get_running_loop().call_later(least + random.uniform(0, longest), act)

    def _send(self, message: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.send(message)
