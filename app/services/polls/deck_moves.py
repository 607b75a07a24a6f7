"""Moves a deck from one poll to the next.

The row moves first, conditionally, and says what is left to do; then the old poll is closed and the new one opened. Closing
and opening can be repeated, so whoever finds an old intent finishes it: another instance, after a crash or an outage.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from ...domain.decks import Deck, Move
from ...domain.errors import PollroomError, unavailable
from ...ports.clock import Clock
from ...ports.database import Database
from ...ports.ledger import Ledger
from ...repositories import decks as model
from ...utils import logger
from ...utils.single_flight import SingleFlight
from .deck_hints import DeckHints
from .poll_loader import PollLoader, open_now
from .poll_reader import PollReader

TRIES: Final = 10
OLD_MS: Final = 1000
"""A move that is older is finished by whoever finds it."""
UNFINISHED: Final = 100

_log = logger.get(__name__)


class _Changed(Exception):
    """The deck is not what it was when it was read."""


class DeckMoves:
    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        editor: PollLoader,
        reader: PollReader,
        hints: DeckHints,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._editor = editor
        self._reader = reader
        self.hints = hints
        self._finishing: SingleFlight[tuple[str, int], None] = SingleFlight()

    async def find(self, deck_id: str) -> Deck:
        """The deck, with every move finished. ``NOT_FOUND``."""
        for _ in range(TRIES):
            deck = await model.find(self._database, deck_id)
            if deck is None:
                raise PollroomError("NOT_FOUND")
            if deck.moving_since is not None:
                await self._finish(deck)
            elif deck.current_id is not None and deck.position is None:
                await self._forget(deck_id, deck.current_id)
            else:
                return deck
        raise unavailable()

    async def versions(self, deck_ids: Sequence[str]) -> dict[str, int]:
        """Versions of those decks that exist; 0 for a deck with a move to finish."""
        return await model.versions(self._database, deck_ids)

    async def move(self, deck: Deck, wanted: Move) -> Deck:
        """The deck afterwards. ``deck`` was found just now, and is its caller's."""
        opens, closes = wanted.open is not False, wanted.close is not False
        for _ in range(TRIES):
            if deck.ended_at:
                raise PollroomError("DECK_ENDED")
            if wanted.poll_id is not None and wanted.poll_id not in deck.poll_ids:
                raise PollroomError("NOT_FOUND")
            state = None
            if wanted.poll_id is not None:
                state = (await self._reader.read(wanted.poll_id, deck.owner_id)).state
            waits = state is not None and not state.opened and not state.closed
            if deck.current_id == wanted.poll_id and not (opens and waits):
                return deck
            if wanted.version is not None and wanted.version != deck.version:
                raise PollroomError("DECK_MOVED")
            if state is not None and state.draft:
                if not opens:
                    raise PollroomError("POLL_NOT_OPEN")
                if state.closes and state.closes <= state.now:
                    raise PollroomError("POLL_CLOSED")
            if wanted.poll_id is not None and deck.current_id == wanted.poll_id:
                await self._open(wanted.poll_id)
                return deck
            moved = await self._write(deck, wanted.poll_id, closes=closes, opens=opens)
            deck = await self.find(deck.id)
            if moved:
                return deck
        raise unavailable()

    async def end(self, deck: Deck) -> Deck:
        for _ in range(TRIES):
            if deck.ended_at:
                return deck
            await self._write(deck, deck.current_id, closes=True, opens=False, ends=True)
            deck = await self.find(deck.id)
        raise unavailable()

    async def poll_deleted(self, poll_id: str) -> None:
        """A deck whose current poll it was shows nothing. What fails here, ``find`` does later."""
        try:
            found = await model.decks_of_polls(self._database, [poll_id])
            if poll_id in found:
                await self._forget(found[poll_id], poll_id)
        except PollroomError as error:
            _log.warning("a deleted poll is still in its deck", error=repr(error)[:200])

    async def finish_old(self) -> None:
        """What a crash or an outage left."""
        for deck_id in await model.unfinished(self._database, self._clock.now() - OLD_MS, UNFINISHED):
            try:
                await self.find(deck_id)
            except PollroomError as error:
                _log.warning("a move is not finished yet", error=repr(error)[:200])

    async def _write(
        self, deck: Deck, poll_id: str | None, *, closes: bool, opens: bool, ends: bool = False
    ) -> bool:
        """Move the row, and do what it says is left to do. False if the deck is not what it was."""
        now = self._clock.now()
        try:
            async with self._database.transaction() as q:
                if not await model.move(q, deck, poll_id, closes=closes, opens=opens, now=now, ends=ends):
                    raise _Changed
        except _Changed:
            return False
        moved = replace(
            deck,
            version=deck.version + 1,
            current_id=poll_id,
            moving_since=now,
            move_from=deck.current_id,
            move_closes=closes,
            move_opens=opens,
        )
        if closes and deck.current_id is not None and deck.current_id != poll_id:
            await self.hints.leave(deck.id, deck.current_id)
        await self._finish(moved)
        return True

    async def _forget(self, deck_id: str, poll_id: str) -> None:
        async with self._database.transaction() as q:
            deck = await model.lock(q, deck_id)
            if deck is None:
                return
            released = await model.release(q, deck_id, poll_id)
            if released or deck.current_id == poll_id:
                await model.rearranged(q, deck_id, None if deck.current_id == poll_id else deck.current_id)
        await self.hints.publish(deck_id, {poll_id: None})

    async def _finish(self, deck: Deck) -> None:
        """Once at a time on this instance; twice does no harm."""
        await self._finishing.run((deck.id, deck.version), lambda: self._close_and_open(deck))

    async def _close_and_open(self, deck: Deck) -> None:
        if deck.move_closes and deck.move_from is not None:
            try:
                await self._reader.read(deck.move_from, deck.owner_id)
                await self._ledger.close(deck.move_from)
            except PollroomError as error:
                if error.code not in ("NOT_FOUND", "POLL_NOT_OPEN"):
                    raise
        if deck.move_opens and deck.current_id is not None:
            try:
                await self._open(deck.current_id)
            except PollroomError as error:
                if error.code not in ("NOT_FOUND", "POLL_CLOSED"):
                    raise
        await model.moved(self._database, deck)
        await self.hints.publish(deck.id, {})

    async def _open(self, poll_id: str) -> None:
        rules, _ = await self._editor.edit(poll_id, open_now)
        self._reader.remember(rules)
