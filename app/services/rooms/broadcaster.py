"""Feeds: the newest tally of every poll that is watched on this instance, delivered to its rooms once per tick.

Subscribe, wait for the confirmation, then read, then merge by ``(epoch, seq)``: nothing is missed in between. A feed holds
only the newest; its cost does not depend on how many vote.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ...domain.ballots import PollState
from ...domain.errors import PollroomError, unavailable
from ...domain.polls import Rules
from ...ports.clock import Clock
from ...ports.ledger import Ledger
from ...ports.messaging import Feeds, ViewerCount
from ...utils import logger
from ...utils.recurring import every
from ...utils.single_flight import SingleFlight
from ..polls.poll_reader import PollReader, Reading
from .feed import Feed, PollPublication, Publication
from .presence import ANNOUNCE_SHARE, CHECK_SHARE, Presence, Timing, Viewers
from .rooms import Rooms

RESYNC_SECONDS = 5.0
RESYNC_CHUNK = 200
GIVE_UP_SECONDS = 3.0
KEEP_FEED_SECONDS = 5.0
MAX_TIMER_SECONDS = 3600.0
"""The longest timer. Longer waits set it again, because the clock may be corrected meanwhile."""

_log = logger.get(__name__)


class Broadcaster:
    def __init__(
        self,
        ledger: Ledger,
        reader: PollReader,
        pubsub: Feeds,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._pubsub = pubsub
        self._clock = clock
        self._presence = Presence(pubsub, timing.instance)
        self._tick = timing.tick_seconds
        self._silence = timing.silence_seconds
        self._feeds: dict[str, Feed] = {}
        self._opening: SingleFlight[str, Feed] = SingleFlight()
        # Feeds must not be given up while somebody is about to join them.
        self._subscribing: Counter[str] = Counter()
        self._due: dict[str, Feed] = {}
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup
        self.rooms: list[Rooms[Any, Any]] = []
        self.on_deleted: Callable[[str], None] = lambda _: None
        # For operators: kind of message -> sockets that it was for.
        self.delivered: Counter[str] = Counter()
        pubsub.on_reconnect(self.resync)

    @property
    def feeds(self) -> int:
        return len(self._feeds)

    def feed_of(self, poll_id: str) -> Feed | None:
        """The poll's feed, if it is watched here."""
        return self._feeds.get(poll_id)

    async def run(self) -> None:
        """Run until cancelled: ticks, viewer counts, and a resync every 5 s."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._tick_forever())
            self._tasks.create_task(every(RESYNC_SECONDS, self.resync))
            self._tasks.create_task(every(self._silence * ANNOUNCE_SHARE, self._announce_viewers))
            self._tasks.create_task(every(self._silence * CHECK_SHARE, self._forget_viewers))

    async def subscribe(self, poll_id: str, voter_id: str | None) -> tuple[Feed, Reading]:
        """A poll's feed and this voter's current reading. The feed is kept until 5 s after the last viewer here has left."""
        self._subscribing[poll_id] += 1
        try:
            return await self._subscribe(poll_id, voter_id)
        finally:
            self._subscribing[poll_id] -= 1
            if not self._subscribing[poll_id]:
                del self._subscribing[poll_id]

    async def _subscribe(self, poll_id: str, voter_id: str | None) -> tuple[Feed, Reading]:
        reading = await self._reader.read(poll_id, voter_id)
        feed = self._feeds.get(poll_id)
        if feed is None:
            first = reading
            feed = await self._opening.run(poll_id, lambda: self._open(poll_id, first))
            reading = await self._reader.read(poll_id, voter_id)
        feed.viewers.empty_since = time.monotonic()
        self._merge(feed, reading.state, reading.rules)
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                while feed.state.order < reading.state.order:
                    await feed.moved.wait()
        except TimeoutError as late:
            raise unavailable() from late
        return feed, reading

    def viewers_changed(self, poll_id: str) -> None:
        """Count the viewers here again. A feed without any is dropped at the next tick."""
        feed = self._feeds.get(poll_id)
        if feed is not None and feed.viewers.set_here(sum(rooms.viewers(poll_id) for rooms in self.rooms)):
            self._mark_dirty(feed, only_viewers=True)

    def deck_moved_in(self, feed: Feed, deck: Viewers) -> None:
        """A deck's sockets have entered the room and received its state and viewer count."""
        feed.viewers.expect(deck)
        feed.viewers.set_here(sum(rooms.viewers(feed.poll_id) for rooms in self.rooms))
        if (feed.viewers.here, feed.viewers.total) != (deck.here, deck.total):
            self._mark_dirty(feed, only_viewers=True)
            return
        self._due.pop(feed.poll_id, None)
        if feed.viewers.unannounced:
            self._spawn(self._presence.announce(feed.viewers))

    def mark_dirty(self, poll_id: str) -> None:
        """A connection gained a right: the next tick delivers to it."""
        feed = self._feeds.get(poll_id)
        if feed is not None:
            self._mark_dirty(feed)

    async def resync(self, poll_id: str | None = None) -> None:
        """Update every feed, or that of one poll, from the ledger, in case a publication was missed."""
        ids = list(self._feeds) if poll_id is None else [poll_id]
        for start in range(0, len(ids), RESYNC_CHUNK):
            try:
                states = await self._ledger.peek(ids[start : start + RESYNC_CHUNK])
            except PollroomError:
                return  # the next round comes in time
            for poll_id, state in states.items():
                if feed := self._feeds.get(poll_id):
                    self._merge(feed, state)
            await asyncio.sleep(0)

    async def _open(self, poll_id: str, reading: Reading) -> Feed:
        feed = Feed(reading.rules, reading.state, self._silence, self._reader.view)
        await self._pubsub.subscribe(poll_id, lambda message: self._on_message(feed, message))
        self._feeds[poll_id] = feed
        self._set_timer(feed)
        await self._presence.announce(feed.viewers, hello=True)
        return feed

    def _on_message(self, feed: Feed, message: PollState | ViewerCount) -> None:
        if isinstance(message, ViewerCount):
            changed, asked = self._presence.on_announcement(feed.viewers, message)
            if changed:
                self._mark_dirty(feed, only_viewers=True)
            if asked:
                self._spawn(self._presence.announce(feed.viewers))
            return
        self._merge(feed, message)

    def _merge(self, feed: Feed, state: PollState, rules: Rules | None = None) -> None:
        """Apply a state, unless the feed has it or a newer one."""
        if state.order <= max(feed.state.order, feed.newest):
            return
        feed.newest = state.order
        if rules is not None and rules.version == state.version:
            feed.pending.append((state, rules))
        elif feed.rules.version == state.version:
            feed.pending.append((state, feed.rules))
        else:
            feed.pending.append((state, None))
        self._advance(feed)

    def _advance(self, feed: Feed) -> None:
        """Apply a state at once if nothing must be fetched for it, otherwise in a task. The order is kept."""
        if feed.catching_up:
            return
        while feed.pending:
            state, rules = feed.pending[0]
            if rules is None or feed.changes_rights(rules, state):
                feed.catching_up = True
                self._spawn(self._fetch(feed))
                return
            feed.pending.popleft()
            self._apply(feed, rules, state)

    async def _fetch(self, feed: Feed) -> None:
        """Fetch the rules of a new version, and who may see counts under them, before anything is delivered."""
        try:
            while feed.pending:
                state, rules = feed.pending[0]
                if rules is None or rules.version != state.version:
                    rules = await self._reader.rules(feed.poll_id, state.version)
                if rules.version != state.version:
                    reading = await self._reader.read(feed.poll_id, feed.state.owner_id)
                    rules, state = reading.rules, reading.state
                    feed.pending = deque(entry for entry in feed.pending if entry[0].order > state.order)
                    feed.newest = max(feed.newest, state.order)
                else:
                    feed.pending.popleft()
                if feed.changes_rights(rules, state):
                    voters = [
                        voter for rooms in self.rooms for voter in rooms.users_without_vote(feed.poll_id)
                    ]
                    voted = await self._ledger.accepted(feed.poll_id, voters) if voters else set()
                    for rooms in self.rooms:
                        rooms.mark_voted(feed.poll_id, voted)
                if state.order > feed.state.order:
                    self._apply(feed, rules, state)
        except Exception as error:
            if isinstance(error, PollroomError) and error.code == "NOT_FOUND":
                self._apply(feed, feed.rules, msgspec.structs.replace(feed.state, deleted=True))
            else:
                feed.newest = feed.state.order  # the next resync brings it again
                feed.pending.clear()
                if not isinstance(error, PollroomError):
                    raise
        finally:
            feed.catching_up = False
        self._advance(feed)

    def _apply(self, feed: Feed, rules: Rules, state: PollState) -> None:
        changed = feed.changes_poll(rules, state)
        feed.rules, feed.state = rules, state
        feed.moved.set()
        feed.moved.clear()
        if state.deleted:
            self.deliver(PollPublication("POLL_DELETED", feed, self._clock.now()))
            self.on_deleted(feed.poll_id)
            return
        self._set_timer(feed)
        if changed:
            self.deliver(PollPublication("POLL_CHANGED", feed, self._clock.now()))
        else:
            self._mark_dirty(feed)

    def _mark_dirty(self, feed: Feed, *, only_viewers: bool = False) -> None:
        feed.only_viewers = feed.only_viewers and only_viewers
        self._due[feed.poll_id] = feed
        self._wake.set()

    def deliver(self, publication: Publication) -> None:
        for rooms in self.rooms:
            self.delivered[publication.kind] += rooms.viewers(publication.room_id)
            rooms.deliver(publication)

    async def _tick_forever(self) -> None:
        last = 0.0
        later = asyncio.get_running_loop().call_later(0, self._wake.set)
        while True:
            await self._wake.wait()
            pause = last + self._tick - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            last = time.monotonic()
            self._wake.clear()
            due, self._due = self._due, {}
            for feed in due.values():
                if self._feeds.get(feed.poll_id) is not feed:
                    continue
                if feed.due_at() > last:
                    self._due[feed.poll_id] = feed
                else:
                    self._update(feed)
                if feed.viewers.unannounced:
                    self._spawn(self._presence.announce(feed.viewers))
            if self._due:
                soonest = min(feed.due_at() for feed in self._due.values()) - time.monotonic()
                later.cancel()
                later = asyncio.get_running_loop().call_later(max(soonest, 0), self._wake.set)

    def _update(self, feed: Feed) -> None:
        """Where telling everybody takes longer than half a tick, the room's next tick is twice that time away."""
        feed.told, feed.only_viewers = time.monotonic(), True
        try:
            self.deliver(PollPublication("POLL_UPDATE", feed, self._clock.now()))
        except Exception:  # the other feeds of this tick must not be lost with this one
            _log.exception("update not delivered", poll=feed.poll_id)
        took = time.monotonic() - feed.told
        feed.busy_until = feed.told + 2 * took if took > self._tick / 2 else 0.0

    async def _announce_viewers(self) -> None:
        """Announce the viewers here again, and drop feeds that nobody watches."""
        for feed in list(self._feeds.values()):
            if feed.viewers.here or feed.viewers.unannounced:
                await self._presence.announce(feed.viewers)
            elif feed.poll_id in self._subscribing:
                continue
            elif time.monotonic() - feed.viewers.empty_since > KEEP_FEED_SECONDS:
                del self._feeds[feed.poll_id]
                feed.cancel_timer()
                await self._pubsub.unsubscribe(feed.poll_id)

    async def _forget_viewers(self) -> None:
        """Drop the viewers of instances that stopped announcing."""
        for feed in self._feeds.values():
            if feed.viewers.forget():
                self._mark_dirty(feed, only_viewers=True)

    async def close(self) -> None:
        """Announce that nobody is left on this instance."""
        await self._presence.leave([feed.viewers for feed in self._feeds.values()])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task that ends with the feeds. Its failure is logged and affects nothing else."""

        async def guarded() -> None:
            try:
                await work
            except Exception:
                _log.exception("a feed's task failed")

        self._tasks.create_task(guarded())

    def _set_timer(self, feed: Feed) -> None:
        """Read the poll when its opening or closing is due: the script that reads applies it."""
        feed.cancel_timer()
        at = feed.state.next_moment
        if at is not None and not feed.state.deleted:
            delay = min(max(at - self._clock.now(), 0) / 1000 + 0.001, MAX_TIMER_SECONDS)
            feed.timer = asyncio.get_running_loop().call_later(delay, self._scheduled_moment, feed)

    def _scheduled_moment(self, feed: Feed) -> None:
        feed.timer = None
        self._spawn(self._read_scheduled_moment(feed))

    async def _read_scheduled_moment(self, feed: Feed) -> None:
        try:
            states = await self._ledger.peek([feed.poll_id])
        except PollroomError:
            states = {}
        if self._feeds.get(feed.poll_id) is not feed:
            return
        if state := states.get(feed.poll_id):
            self._merge(feed, state)
        if feed.timer is None:
            self._set_timer(feed)
