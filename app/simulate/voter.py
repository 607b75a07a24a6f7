"""One voter: comes, authenticates, joins, votes once, and comes back by the contract's rules when the connection is lost."""

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from app.modules.types import new_id
from app.simulate.link import LOST, Link, Message, Tally

if TYPE_CHECKING:
    from app.simulate.hall import Ballots, Hall

AGAIN: Final = frozenset({"UNAVAILABLE", "INTERNAL", "RATE_LIMITED"})
"""``RATE_LIMITED`` was not taken, the others are not known: in each case the same message goes out again."""
FOR_GOOD: Final = frozenset({1003, 1007, 1009, 4400, 4401, 4403, 4404, 4426})
"""Close codes, and refused upgrades as 4000 + status, after which coming back unchanged is of no use."""
SLOW_DOWN: Final = 4429
ANSWER_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 10.0


class Voter:
    """Settled once its vote was acknowledged and seen in a tally, or was refused, or it gave up.

    Times in seconds of ``time.monotonic``: ``sent`` the first sending of the ballot, ``asked`` the latest on this
    connection while there is no answer, 0 for none.
    """

    __slots__ = (
        "_asked", "_away", "_epoch", "_hall", "_link", "_option", "_poll", "_retries", "_seen", "_sent", "_since",
        "_token", "_turn", "acked", "failed", "joined", "last", "refused", "seq", "settled", "wants",
    )  # fmt: skip

    def __init__(self, hall: "Hall", token: str, poll: "Ballots", option: str, turn: int) -> None:
        """``turn``: which instance it goes to first; after a lost connection the next one."""
        self._hall = hall
        self._token = token
        self._poll = poll
        self._option = option
        self._turn = turn
        self._link: Link | None = None
        self._retries = 0
        self._sent = self._asked = self._away = 0.0
        self._epoch = 0
        self._since: list[tuple[float, tuple[int, int]]] = []
        self._seen: str = new_id()
        self.joined = self.wants = self.settled = False
        self.acked = 0.0
        self.seq = 0
        self.last: Tally | None = None
        self.refused: str | None = None
        self.failed: str | None = None
