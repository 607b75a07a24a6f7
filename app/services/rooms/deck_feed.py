"""The feed of one deck that is watched on this instance: the newest version of its row, its poll and viewers."""

import asyncio

from msgspec import Struct

from ...domain.decks import Deck, DeckView
from ...domain.values import rfc3339
from .feed import Feed, PollPublication, Publication
from .messages import DeckChanged, DeckDeleted, DeckUpdate
from .presence import Viewers


class DeckFeed:
    """``poll_id``: the poll that its sockets are shown; none where the current one is deleted or a draft, or about to be left.

    ``joining``: how many are about to join. ``asked``: resolves once a reading that has not begun yet is applied.
    ``timer``: of the next ``DECK_UPDATE``; ``told``: when the last one went out.
    """

    def __init__(self, deck_id: str, silence_seconds: float) -> None:
        self.deck_id = deck_id
        self.deck: Deck | None = None
        self.poll_id: str | None = None
        self.viewers = Viewers(deck_id, silence_seconds)
        self.joining = 0
        self.asked: asyncio.Future[None] | None = None
        self.reading: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.told = 0.0

    @property
    def settled(self) -> bool:
        """Whether sockets are shown what the row says."""
        return self.deck is not None and self.deck.current_id == self.poll_id

    def view(self) -> DeckView:
        assert self.deck is not None
        seen = DeckView.of(self.deck)
        if seen.current_poll_id != self.poll_id:
            seen.current_poll_id = seen.position = None
        return seen


class DeckPublication(Publication):
    """A message about a deck. ``poll``: the feed of the poll that ``DECK_CHANGED`` shows, if any."""

    def __init__(self, kind: str, deck: DeckFeed, poll: Feed | None, now: int) -> None:
        super().__init__()
        self.kind = kind
        self.room_id = deck.deck_id
        self._deck = deck
        self._poll = PollPublication(kind, poll, now) if poll is not None else None
        self.order = self._poll.order if self._poll is not None else None
        self._time = rfc3339(self._poll.now if self._poll is not None else now)

    def may_see_counts(self, *, owner: bool, voted: bool) -> bool:
        return self._poll is not None and self._poll.may_see_counts(owner=owner, voted=voted)

    def message(self, counts: bool) -> Struct:
        if self.kind == "DECK_DELETED":
            return DeckDeleted(self.room_id)
        viewers = self._deck.viewers.total
        if self.kind == "DECK_UPDATE":
            return DeckUpdate(self.room_id, viewers, self._time)
        if self._poll is None:
            return DeckChanged(self._deck.view(), None, None, viewers, self._time)
        return DeckChanged(
            self._deck.view(), self._poll.poll(), self._poll.tally(counts), viewers, self._time
        )
