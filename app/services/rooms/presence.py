"""How many are in a room, over all instances: each says how many it has, and again and again; who no longer does is forgotten."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct

from ...domain.errors import PollroomError
from ...ports.messaging import Feeds, ViewerCount

ANNOUNCE_SHARE, FORGET_SHARE, CHECK_SHARE = 1 / 3, 5 / 6, 1 / 15
"""Shares of ``VIEWER_SILENCE_SECONDS``. One message may be lost; who was killed is forgotten before the whole is over."""

FAREWELL_SECONDS = 1.0


class Timing(Struct, frozen=True):
    """``instance``: this process, unlike any other. ``silence_seconds``: an instance silent for so long has no viewers."""

    instance: str
    tick_seconds: float
    silence_seconds: float


class Viewers:
    """Sockets in the room of a poll or deck: those here, and what other instances last said of theirs."""

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
        """The deck's sockets come into the room on every instance; those that have not said so yet will."""
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
        """Drop instances that are missed; true where there were any."""
        if not self._others:
            return False
        now = time.monotonic()
        silent = [name for name, (_, at) in self._others.items() if now - at > self._forget_after]
        for name in silent:
            del self._others[name]
        return bool(silent)


class Presence:
    """What this instance and the others tell each other. ``instance``: this process, unlike any other."""

    def __init__(self, feeds: Feeds, instance: str) -> None:
        self._feeds = feeds
        self._instance = instance

    async def announce(self, viewers: Viewers, *, hello: bool = False) -> None:
        """``hello``: the others say theirs. Where it does not go out, it is said again."""
        viewers.announced = viewers.here
        try:
            await self._feeds.announce(viewers.room_id, ViewerCount(self._instance, viewers.here, hello))
        except PollroomError:
            viewers.announced = -1

    def on_announcement(self, viewers: Viewers, count: ViewerCount) -> tuple[bool, bool]:
        """Whether the total changed, and whether ours was asked for."""
        if count.instance == self._instance:
            return False, False
        asked = count.hello and viewers.here > 0  # who has begun to listen knows of nobody
        if count.hello and not count.viewers:
            return False, asked
        return viewers.update_instance(count.instance, count.viewers), asked

    async def leave(self, rooms: Iterable[Viewers]) -> None:
        """Nobody is here any more: others need not wait for the tick that would say so, nor for the silence."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                for viewers in rooms:
                    if viewers.unannounced:
                        await self.announce(viewers)
