"""What the voters of a run share: where to go, what was acknowledged, and how long it took."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from websockets.uri import WebSocketURI, parse_uri

from .link import Link, Listener, Reconnect, Tally

PATH: Final = "/ws"


class Gate:
    """Opens when everybody of a number is through."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.through = 0
        self.open = asyncio.Event()

    def passed(self) -> None:
        self.through += 1
        if self.through == self.number:
            self.open.set()


class Ballots:
    """What was acknowledged of one poll.

    ``options``: id -> label. ``weights``: how well liked each is. ``newest``: the highest tally that any voter saw.
    ``final``: ``(epoch, seq)`` of the results at the end.
    """

    def __init__(self, id: str, question: str, options: dict[str, str], weights: list[int]) -> None:
        self.id = id
        self.question = question
        self.options = options
        self.weights = weights
        self.final = (0, 0)
        self.acked: Counter[str] = Counter()
        self.newest: Tally | None = None
        self._seqs: set[int] = set()

    def count(self, option: str, seq: int) -> bool:
        """False where another ballot of this poll has the same ``seq``."""
        self.acked[option] += 1
        fresh = seq not in self._seqs
        self._seqs.add(seq)
        return fresh


class Hall:
    """``resent`` and ``lost``: how often, by error code or by close code; ``broken``: rules that the servers broke.

    Latencies in seconds: ``acks`` and ``sights`` from the first sending of a ballot, ``absences`` from a lost
    connection to the next ``POLL_STATE``.
    """

    def __init__(self, instances: tuple[str, ...], voters: int, ballots: int) -> None:
        self._places = [_place(url) for url in instances]
        self._tls = ssl.create_default_context() if any(place.secure for place in self._places) else None
        self._connecting: set[asyncio.Task[None]] = set()
        self.delays = Reconnect(0.5, 30.0)
        self.arrived = Gate(voters)
        self.settled = Gate(ballots)
        self.closing = False
        self.repeated = 0
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.resent: Counter[str] = Counter()
        self.lost: Counter[int] = Counter()
        self.broken: Counter[str] = Counter()
        self.acks: list[float] = []
        self.sights: list[float] = []
        self.absences: list[float] = []

    def link(self, listener: Listener, turn: int) -> Link:
        """A connection that is on its way to the instance of that turn. Where it fails, the listener hears of 1006."""
        place = self._places[turn % len(self._places)]
        link = Link(place, listener)
        self._keep(self._connect(link, place, listener))
        return link

    async def _connect(self, link: Link, place: WebSocketURI, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: link, place.host, place.port, ssl=self._tls if place.secure else None
            )
        except OSError:
            listener.lost(link, 1006)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)


def _place(url: str) -> WebSocketURI:
    return parse_uri("ws" + url.removeprefix("http") + PATH)
