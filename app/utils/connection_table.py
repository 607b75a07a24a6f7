"""Every open connection of a process, and which one goes when there are too many.

At the limit, a new connection replaces the one that has been idle longest among those without a known user, taken from the
client address that has most of them. A user's connections beyond the first ``USER_CONNECTIONS`` count as without a known user.
So neither one address nor one user can keep the others out.
"""

import heapq
import ipaddress
from collections import Counter, deque
from typing import Final, Protocol

CANDIDATES: Final = 256
"""Connections that one search for the longest idle finds at once: a search walks all connections of the address."""

USER_CONNECTIONS: Final = 32
"""Connections of one user that are spared at the limit."""


class Peer(Protocol):
    """``last_active``: when it last did what it is open for, in the event loop's time."""

    address: str
    last_active: float

    @property
    def user_id(self) -> str | None: ...

    def drop(self) -> None:
        """Free the file descriptor at once."""


class ConnectionTable:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0
        self.dropped = 0
        # Connections that may go; one with a known user is spared when it is found to have one.
        self._peers: dict[str, dict[Peer, None]] = {}
        # Number of connections -> addresses with so many.
        self._by_size: dict[int, dict[str, None]] = {}
        self._largest = 0
        self._idle: deque[tuple[float, int, Peer]] = deque()
        self._idle_of = ""
        self._spared: dict[Peer, str] = {}
        self._spared_of = Counter[str]()

    def add(self, peer: Peer) -> bool:
        """False when it has to go itself: the limit is reached and every other connection has a known user."""
        admitted = True
        if self.open >= self.limit:
            self.dropped += 1
            victim = self._longest_idle()
            admitted = victim is not None
            if victim is not None:
                self._forget(victim)
                victim.drop()
        self.open += 1
        if admitted:
            self._remember(peer)
        return admitted

    def replace(self, old: Peer, new: Peer) -> None:
        """The same connection is served by another protocol from now on."""
        self._forget(old)
        self._remember(new)

    def remove(self, peer: Peer) -> None:
        """Its file descriptor is closed."""
        self.open -= 1
        self._forget(peer)

    def _remember(self, peer: Peer) -> None:
        peers = self._peers.setdefault(peer.address, {})
        peers[peer] = None
        self._resized(peer.address, len(peers) - 1, len(peers))

    def _forget(self, peer: Peer) -> None:
        user_id = self._spared.pop(peer, None)
        if user_id is not None:
            self._spared_of[user_id] -= 1
            if not self._spared_of[user_id]:
                del self._spared_of[user_id]
        peers = self._peers.get(peer.address)
        if peers is None or peer not in peers:
            return
        del peers[peer]
        self._resized(peer.address, len(peers) + 1, len(peers))
        if not peers:
            del self._peers[peer.address]

    def _resized(self, address: str, before: int, now: int) -> None:
        if before:
            addresses = self._by_size[before]
            del addresses[address]
            if not addresses:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, {})[address] = None
        if now > self._largest or (before == self._largest and before not in self._by_size):
            self._largest = now

    def _longest_idle(self) -> Peer | None:
        while self._largest:
            address = next(iter(self._by_size[self._largest]))
            peers = self._peers[address]
            if self._idle_of != address or not self._idle:
                self._idle_of = address
                found = heapq.nsmallest(CANDIDATES, ((peer.last_active, id(peer), peer) for peer in peers))
                self._idle = deque(found)
            # Connections only become more active: one that has not moved is still the longest idle.
            last_active, _, peer = self._idle.popleft()
            if peer not in peers or peer.last_active != last_active:
                continue
            user_id = peer.user_id
            if user_id is None or self._spared_of[user_id] >= USER_CONNECTIONS:
                return peer
            self._forget(peer)
            self._spared[peer] = user_id
            self._spared_of[user_id] += 1
        return None


def client_key(host: str) -> str:
    """What counts as one client address: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped) if address.ipv4_mapped else address.packed[:8].hex()
