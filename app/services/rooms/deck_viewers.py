"""Viewer counts of decks across instances, delivered by ``DECK_UPDATE`` while no poll is current."""

import asyncio
import time
from collections.abc import Callable, Iterable

from ...ports.clock import Clock
from ...ports.messaging import Feeds, ViewerCount
from ...utils import logger
from .deck_feed import DeckFeed, DeckPublication
from .presence import MANY, MANY_SECONDS, Presence, Timing

_log = logger.get(__name__)


class DeckViewers:
    """``tell`` delivers a publication to a deck's sockets here."""

    def __init__(
        self, pubsub: Feeds, clock: Clock, timing: Timing, tell: Callable[[DeckFeed, DeckPublication], None]
    ) -> None:
        self._clock = clock
        self._presence = Presence(pubsub, timing.instance)
        self._tick = timing.tick_seconds
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    def counted(self, feed: DeckFeed, here: int) -> None:
        """Set the number of sockets on this instance."""
        if feed.viewers.set_here(here):
            self.mark_dirty(feed)

    def on_message(self, feed: DeckFeed, message: object) -> None:
        """Apply the announcement of another instance, and answer if it asks for ours."""
        if isinstance(message, ViewerCount):
            changed, asked = self._presence.on_announcement(feed.viewers, message)
            if changed:
                self.mark_dirty(feed)
            if asked:
                self.announce(feed)

    def mark_dirty(self, feed: DeckFeed) -> None:
        if feed.timer is None:
            pause = self._tick if feed.viewers.total <= MANY else max(self._tick, MANY_SECONDS)
            delay = max(feed.told + pause - time.monotonic(), 0)
            feed.timer = asyncio.get_running_loop().call_later(delay, self._update, feed)

    def announce(self, feed: DeckFeed, *, hello: bool = False) -> None:
        """Announce the count in the background. ``hello`` asks the others to announce theirs."""
        task = asyncio.create_task(self._announce(feed, hello))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, feeds: Iterable[DeckFeed]) -> None:
        """Drop the viewers of instances that stopped announcing."""
        for feed in feeds:
            if feed.viewers.forget():
                self.mark_dirty(feed)

    async def leave(self, feeds: Iterable[DeckFeed]) -> None:
        """Announce that nobody is left on this instance."""
        await self._presence.leave([feed.viewers for feed in feeds])
        for task in self._tasks:
            task.cancel()

    async def _announce(self, feed: DeckFeed, hello: bool) -> None:
        try:
            await self._presence.announce(feed.viewers, hello=hello)
        except Exception:
            _log.exception("viewers of a deck not announced")

    def _update(self, feed: DeckFeed) -> None:
        feed.timer, feed.told = None, time.monotonic()
        if feed.poll_id is None and feed.settled:
            self._tell(feed, DeckPublication("DECK_UPDATE", feed, None, self._clock.now()))
        if feed.viewers.unannounced:
            self.announce(feed)
