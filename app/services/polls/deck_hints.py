"""Tells every instance that a deck has changed. A lost hint is healed by reading again."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from ...domain.errors import PollroomError
from ...ports.messaging import Bus
from .poll_reader import PollReader

NAME: Final = "decks"


class DeckHints:
    """``on_change`` is called with the id of a deck that has changed."""

    def __init__(self, bus: Bus, reader: PollReader) -> None:
        self._bus = bus
        self._reader = reader
        self.on_change: Callable[[str], None] = lambda _: None
        self._channel = bus.channel(NAME)
        bus.handle(self._channel, self._on_hint)
        bus.on_reconnect(reader.missed_decks)

    async def publish(self, deck_id: str, deck_of: Mapping[str, str | None]) -> None:
        """After the commit. ``deck_of``: polls whose deck has changed."""
        self._reader.set_decks(deck_of)
        with suppress(PollroomError):
            await self._bus.publish(self._channel, msgspec.json.encode((deck_id, deck_of)))
        self.on_change(deck_id)

    def _on_hint(self, payload: bytes) -> None:
        deck_id, deck_of = msgspec.json.decode(payload)
        self._reader.set_decks(deck_of)
        self.on_change(deck_id)
