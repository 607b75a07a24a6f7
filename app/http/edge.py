"""What all HTTP connections of a process share: their limits, their number, and the clock of their deadlines."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..domain.hosts import host_allowed
from ..utils.connection_table import ConnectionTable

SWEEP_SECONDS: Final = 0.5
KNOWN_HOSTS: Final = 1000
HEALTH_PATHS: Final = (b"/healthz", b"/readyz")


class Expiring(Protocol):
    """``expires``: the end of the connection's current state, in the event loop's time."""

    expires: float

    def expire(self) -> None: ...


@dataclass
class Edge:
    """Times in seconds. ``request_seconds``: from a request's head to its answer. ``keep_alive_seconds``: between two requests.

    ``discard_seconds``: for the rest of a body that is not read, and for a client to read its answer.
    """

    table: ConnectionTable = field(default_factory=lambda: ConnectionTable(20_000))
    allowed_hosts: frozenset[str] = frozenset()
    head_seconds: float = 15.0
    keep_alive_seconds: float = 75.0
    request_seconds: float = 300.0
    discard_seconds: float = 30.0

    def __post_init__(self) -> None:
        self.connections: set[Expiring] = set()
        self._hosts: dict[bytes, bool] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def answers_host(self, host: bytes, url: bytes) -> bool:
        """Health calls are answered under any name: load balancers use an address."""
        if not self.allowed_hosts or url.partition(b"?")[0] in HEALTH_PATHS:
            return True
        found = self._hosts.get(host)
        if found is None:
            if len(self._hosts) >= KNOWN_HOSTS:
                self._hosts.clear()
            found = self._hosts[host] = host_allowed(host.decode("latin-1"), self.allowed_hosts)
        return found

    def watch(self, connection: Expiring) -> None:
        """End the connection when its deadline passes. One timer serves all: a request sets no timer of its own."""
        self.connections.add(connection)
        if self._sweeper is None:
            self._schedule(asyncio.get_running_loop())

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = None
        if self.connections:
            self._schedule(loop)
        now = loop.time()
        for connection in [one for one in self.connections if one.expires < now]:
            connection.expire()
