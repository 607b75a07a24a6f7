"""Feeds of decks: which poll the sockets of a deck are shown on this instance.

SQL has the state. A hint says that a deck has changed, and the feed reads it; ``REREAD_SECONDS`` bounds what a lost hint costs.
A deck's room then listens to another poll's feed (``DeckRoom``), so that a move costs as much as one ``POLL_CHANGED``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

from ...domain.decks import Deck
from ...domain.errors import PollroomError, unavailable
from ...domain.values import is_id
from ...ports.clock import Clock
from ...ports.ledger import Ledger
from ...ports.messaging import Feeds
from ...utils import logger
from ...utils.recurring import every
from ...utils.shared_wait import outcome
from ..polls.deck_moves import DeckMoves
from .broadcaster import KEEP_FEED_SECONDS, Broadcaster
from .deck_feed import DeckFeed, DeckPublication
from .deck_viewers import DeckViewers
from .feed import Feed, rights_follow_votes
from .presence import ANNOUNCE_SHARE, CHECK_SHARE, Timing

REREAD_SECONDS: Final = 2.0
READ_SECONDS: Final = 1.0
"""How long a ``JOIN_DECK`` waits for SQL if the deck is watched here. Then it gets what is known."""
TRIES: Final = 5
"""How often a deck is read again because it changed meanwhile, and users because some joined meanwhile."""

_log = logger.get(__name__)


class DeckFeeds:
    """``broadcaster`` has the feeds of polls and the rooms of every transport."""

    def __init__(
        self,
        moves: DeckMoves,
        broadcaster: Broadcaster,
        ledger: Ledger,
        pubsub: Feeds,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._moves = moves
        self._broadcaster = broadcaster
        self._ledger = ledger
        self._pubsub = pubsub
        self._clock = clock
        self._viewers = DeckViewers(pubsub, clock, timing, self._deliver)
        self._silence = timing.silence_seconds
        self._feeds: dict[str, DeckFeed] = {}
        self._tasks: asyncio.TaskGroup
        moves.hints.on_change = self.on_change
        moves.hints.on_leave = self.on_leave
        broadcaster.on_deleted = self.poll_gone
        pubsub.on_reconnect(self.reread)

    async def run(self) -> None:
        """Run until cancelled: resync, and viewer counts."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(every(REREAD_SECONDS, self.reread))
            self._tasks.create_task(every(self._silence * ANNOUNCE_SHARE, self._announce_viewers))
            self._tasks.create_task(every(self._silence * CHECK_SHARE, self._forget_viewers))

    async def close(self) -> None:
        """Announce that nobody is left on this instance."""
        await self._viewers.leave(self._feeds.values())

    @asynccontextmanager
    async def joining(self, deck_id: str) -> AsyncIterator[DeckFeed]:
        """The feed of a deck, as SQL has it now. ``NOT_FOUND``."""
        if not is_id(deck_id):
            raise PollroomError("NOT_FOUND")
        feed = self._feeds.get(deck_id)
        if feed is None:
            feed = self._feeds[deck_id] = DeckFeed(deck_id, self._silence)
        feed.joining += 1
        try:
            await self._wait(feed)
            yield feed
        finally:
            feed.joining -= 1
            if feed.deck is None and feed.reading is None and not feed.joining:
                self._feeds.pop(deck_id, None)

    async def _wait(self, feed: DeckFeed) -> None:
        reading = self._refresh(feed)
        if feed.deck is None:
            await outcome(reading)
            return
        try:
            async with asyncio.timeout(READ_SECONDS):
                await outcome(reading)
        except TimeoutError:
            pass
        except PollroomError as error:
            if error.code == "NOT_FOUND":
                raise

    def on_change(self, deck_id: str) -> None:
        """A deck may have changed."""
        if (feed := self._feeds.get(deck_id)) is not None:
            self._refresh(feed)

    def on_leave(self, deck_id: str, poll_id: str) -> None:
        """A deck's row has moved on, and the poll is about to be closed: one message is enough for both."""
        feed = self._feeds.get(deck_id)
        if feed is not None and feed.poll_id == poll_id:
            feed.poll_id = None
            for rooms in self._broadcaster.rooms:
                rooms.detach_deck(deck_id)
            self._broadcaster.viewers_changed(poll_id)

    def viewers_changed(self, deck_id: str) -> None:
        """Count the viewers here again."""
        if (feed := self._feeds.get(deck_id)) is not None:
            self._viewers.counted(feed, sum(rooms.deck_viewers(deck_id) for rooms in self._broadcaster.rooms))

    async def reread(self) -> None:
        """Update every deck that differs from SQL, in case a hint was missed."""
        versions = await self._moves.versions(list(self._feeds))
        for feed in list(self._feeds.values()):
            known = feed.deck.version if feed.deck is not None else 0
            if not feed.settled or versions.get(feed.deck_id) != known:
                self._refresh(feed)

    def poll_gone(self, poll_id: str) -> None:
        """The poll is deleted, or nobody's to see: its decks show nothing until their rows say what comes next."""
        for feed in self._feeds.values():
            if feed.poll_id == poll_id:
                feed.poll_id = None
                self._refresh(feed)

    def _refresh(self, feed: DeckFeed) -> "asyncio.Future[None]":
        """A future that is done once a reading that begins after this call is applied. Concurrent callers share it."""
        if feed.asked is None:
            feed.asked = asyncio.get_running_loop().create_future()
        if feed.reading is None:
            feed.reading = self._tasks.create_task(self._read_while_asked(feed))
        return feed.asked

    async def _read_while_asked(self, feed: DeckFeed) -> None:
        try:
            while (asked := feed.asked) is not None:
                feed.asked = None
                try:
                    await self._read(feed)
                except Exception as error:
                    if not isinstance(error, PollroomError):
                        _log.exception("a deck was not read")
                        error = PollroomError("INTERNAL")
                    asked.set_exception(error)
                    asked.exception()  # nobody may wait for it
                else:
                    asked.set_result(None)
        finally:
            feed.reading = None

    async def _read(self, feed: DeckFeed) -> None:
        for _ in range(TRIES):
            try:
                deck = await self._newer(feed)
            except PollroomError as error:
                if error.code == "NOT_FOUND":
                    await self._drop(feed)
                raise
            if deck is None:
                return
            try:
                poll = await self._shown(deck)
            except PollroomError as error:
                if error.code != "NOT_FOUND":
                    raise
                await self._moves.poll_deleted(str(deck.current_id))
                continue
            if feed.deck is None:
                await self._pubsub.subscribe(
                    feed.deck_id, lambda message: self._viewers.on_message(feed, message)
                )
            voted = (
                await self._voted(feed, poll) if poll is not None and poll.poll_id != feed.poll_id else set()
            )
            if feed.poll_id is not None and feed.poll_id not in deck.poll_ids:
                await self._broadcaster.resync(feed.poll_id)  # first its room hears that it is deleted
            self._apply(feed, deck, poll, voted)
            return
        raise unavailable()

    async def _newer(self, feed: DeckFeed) -> Deck | None:
        """The deck, or none if the feed has it as it is."""
        known = feed.deck.version if feed.deck is not None else 0
        if feed.settled and (await self._moves.versions([feed.deck_id])).get(feed.deck_id) == known:
            return None
        deck = await self._moves.find(feed.deck_id)
        return None if deck.version < known or (deck.version == known and feed.settled) else deck

    async def _shown(self, deck: Deck) -> Feed | None:
        """The feed of the current poll. ``NOT_FOUND`` for one that is deleted."""
        if deck.current_id is None:
            return None
        poll, _ = await self._broadcaster.subscribe(deck.current_id, deck.owner_id)
        return None if poll.state.draft else poll

    async def _voted(self, feed: DeckFeed, poll: Feed) -> set[str]:
        """Users in the deck who voted in the poll earlier, if that decides what they see. Read in batches."""
        voted, asked = set[str](), set[str]()
        if not rights_follow_votes(poll.rules, poll.state) or not poll.state.accepted:
            return voted
        for _ in range(TRIES):
            users = set[str]().union(
                *(rooms.users_in_deck(feed.deck_id) for rooms in self._broadcaster.rooms)
            )
            if not (users := users - asked):
                break
            voted |= await self._ledger.accepted(poll.poll_id, list(users))
            asked |= users
        return voted

    def _apply(self, feed: DeckFeed, deck: Deck, poll: Feed | None, voted: set[str]) -> None:
        first, before = feed.deck is None, feed.poll_id
        same = feed.deck is not None and feed.deck.version == deck.version
        feed.deck, feed.poll_id = deck, poll.poll_id if poll is not None else None
        if first:
            self._viewers.announce(feed, hello=True)
        if first or (same and feed.poll_id == before):
            return
        publication = DeckPublication("DECK_CHANGED", feed, poll, self._clock.now())
        self._deliver(feed, publication, voted)
        if before is not None and before != feed.poll_id:
            self._broadcaster.viewers_changed(before)
        if poll is not None and poll.poll_id != before:
            self._broadcaster.deck_moved_in(poll, feed.viewers)

    async def _drop(self, feed: DeckFeed) -> None:
        """The deck is deleted."""
        if feed.deck is None:
            return
        self._close(feed)
        self._deliver(feed, DeckPublication("DECK_DELETED", feed, None, self._clock.now()))
        await self._pubsub.unsubscribe(feed.deck_id)

    def _deliver(self, feed: DeckFeed, publication: DeckPublication, voter_ids: Collection[str] = ()) -> None:
        self._broadcaster.delivered[publication.kind] += feed.viewers.here
        for rooms in self._broadcaster.rooms:
            match publication.kind:
                case "DECK_CHANGED":
                    rooms.change_deck(publication, feed.poll_id, voter_ids)
                case "DECK_DELETED":
                    rooms.delete_deck(publication)
                case _:
                    rooms.update_deck(publication)

    def _close(self, feed: DeckFeed) -> None:
        self._feeds.pop(feed.deck_id, None)
        if feed.timer is not None:
            feed.timer.cancel()

    async def _announce_viewers(self) -> None:
        """Announce the viewers here again, and drop feeds that nobody watches."""
        for feed in list(self._feeds.values()):
            idle = time.monotonic() - feed.viewers.empty_since > KEEP_FEED_SECONDS
            if feed.viewers.here or feed.viewers.unannounced:
                self._viewers.announce(feed)
            elif idle and not feed.joining and feed.reading is None:
                self._close(feed)
                await self._pubsub.unsubscribe(feed.deck_id)

    async def _forget_viewers(self) -> None:
        self._viewers.forget(self._feeds.values())
