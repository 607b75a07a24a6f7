"""Names of keys and channels. All names of a partition share the hash tag ``{pNN}``, so a script uses one slot."""

from typing import NamedTuple
from zlib import crc32

REMEMBERED = 50_000


def bulk(value: bytes) -> bytes:
    """Encode one argument of a command in the Redis protocol (RESP)."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Route(NamedTuple):
    """Partition of a poll, and its three keys encoded for a command."""

    partition: int
    packed: bytes


class Keys:
    """``partitions`` is stored in SQL (``settings``) and never changes."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._routes: dict[str, Route] = {}

    def partition(self, poll_id: str) -> int:
        return crc32(poll_id.encode()) % self.partitions

    def route(self, poll_id: str) -> Route:
        route = self._routes.get(poll_id)
        if route is None:
            if len(self._routes) >= REMEMBERED:
                self._routes.clear()
            packed = b"".join(bulk(key.encode()) for key in self.poll(poll_id))
            route = self._routes[poll_id] = Route(self.partition(poll_id), packed)
        return route

    @staticmethod
    def tag(partition: int) -> str:
        return f"{{p{partition:02d}}}"

    def fence(self, partition: int) -> str:
        return f"{self.tag(partition)}:fence"

    def probe(self, partition: int) -> str:
        """Written in the background to check that Redis accepts writes."""
        return f"{self.tag(partition)}:probe"

    def rights(self) -> tuple[str, str, str]:
        """Two keys and a channel for checking the permissions of the Redis user."""
        tag = self.tag(0)
        return f"{tag}:rights:1", f"{tag}:rights:2", f"{tag}:feed:rights"

    def log(self, partition: int, generation: int) -> str:
        return f"{self.tag(partition)}:log:{generation}"

    def poll(self, poll_id: str) -> list[str]:
        """Poll, counts and ballots."""
        tag = self.tag(self.partition(poll_id))
        return [f"{tag}:poll:{poll_id}", f"{tag}:counts:{poll_id}", f"{tag}:ballots:{poll_id}"]

    def loaded(self, poll_id: str, token: str) -> str:
        """Temporary key of loaded ballots, until the poll is installed."""
        return f"{self.tag(self.partition(poll_id))}:filled:{token}"

    def budget(self, key: str) -> str:
        """When the next call of a budget is due; expires."""
        return f"{self.tag(self.partition(key))}:budget:{key}"

    def feed(self, poll_id: str) -> str:
        return f"{self.tag(self.partition(poll_id))}:feed:{poll_id}"
