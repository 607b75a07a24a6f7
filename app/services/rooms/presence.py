"""Viewer counts across instances. Each announces its count periodically; an instance that stops announcing is dropped."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct

from ...domain.errors import PollroomError
from ...ports.messaging import Feeds, ViewerCount

ANNOUNCE_SHARE, FORGET_SHARE, CHECK_SHARE = 1 / 3, 5 / 6, 1 / 15
"""Shares of ``VIEWER_SILENCE_SECONDS``. One announcement may be lost. A killed instance is dropped before the time is over."""

FAREWELL_SECONDS = 1.0

MANY, MANY_SECONDS = 500, 1.0
"""Above ``MANY`` sockets in a room, a change of viewers alone is told once in this time."""


class Timing(Struct, frozen=True):
    """``instance``: a unique ID of this process. ``silence_seconds``: an instance silent for this long is dropped."""

    instance: str
    tick_seconds: float
    silence_seconds: float


class Viewers:
    """Sockets in the room of a poll or deck: here, and on other instances as they last announced."""

    def __init__(self, room_id: str, silence_seconds: float) -> None:
        self.room_id = room_id
        self._forget_after = silence_seconds * FORGET_SHARE
        self._others: dict[str, tuple[int, float]] = {}
        self.here = 0
        self.announced = 0
        self.empty_since = time.monotonic()

    @property
    def total(self) -> int:
        return self.here + sum(count for count, _ in self._others.values())

    @property
    def unannounced(self) -> bool:
        return self.here != self.announced

    def set_here(self, count: int) -> bool:
        """True where the total changed."""
        changed = self.here != count
        self.here = count
        self.empty_since = time.monotonic()
        return changed

    def expect(self, deck: "Viewers") -> None:
        """The deck's sockets enter the room on every instance, also on those that have not announced it yet."""
        for instance, known in deck._others.items():
            self._others.setdefault(instance, known)

    def update_instance(self, instance: str, count: int) -> bool:
        """True where the total changed."""
        before = self.total
        if count:
            self._others[instance] = (count, time.monotonic())
        else:
            self._others.pop(instance, None)
        return self.total != before

    def forget(self) -> bool:
        """Drop instances that stopped announcing. True if there were any."""
        if not self._others:
            return False
        now = time.monotonic()
        silent = [name for name, (_, at) in self._others.items() if now - at > self._forget_after]
        for name in silent:
            del self._others[name]
        return bool(silent)


class Presence:
    """Sends and receives announcements. ``instance``: a unique ID of this process."""

    def __init__(self, feeds: Feeds, instance: str) -> None:
        self._feeds = feeds
        self._instance = instance

    async def announce(self, viewers: Viewers, *, hello: bool = False) -> None:
        """Announce the count here. ``hello`` asks the others to announce theirs. A lost announcement is repeated."""
        viewers.announced = viewers.here
        try:
            await self._feeds.announce(viewers.room_id, ViewerCount(self._instance, viewers.here, hello))
        except PollroomError:
            viewers.announced = -1

    def on_announcement(self, viewers: Viewers, count: ViewerCount) -> tuple[bool, bool]:
        """Apply an announcement. Returns whether the total changed, and whether the sender asks for our count."""
        if count.instance == self._instance:
            return False, False
        asked = count.hello and viewers.here > 0  # who has begun to listen knows of nobody
        if count.hello and not count.viewers:
            return False, asked
        return viewers.update_instance(count.instance, count.viewers), asked

    async def leave(self, rooms: Iterable[Viewers]) -> None:
        """Announce at once that nobody is left here, so that others need not wait for a tick or for the silence."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                for viewers in rooms:
                    if viewers.unannounced:
                        await self.announce(viewers)
