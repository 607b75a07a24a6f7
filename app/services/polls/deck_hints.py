"""Tells every instance that a deck has changed. A lost hint is healed by reading again."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from ...domain.errors import PollroomError
from ...ports.messaging import Bus
from .poll_reader import PollReader

NAME: Final = "decks"


UNSENT: Final = 1000
"""Hints that could not be sent and are kept."""


class DeckHints:
    """``on_change`` is called with the id of a deck that has changed, ``on_leave`` with a deck and the poll that it is
    about to close and leave."""

    def __init__(self, bus: Bus, reader: PollReader) -> None:
        self._bus = bus
        self._reader = reader
        self._unsent: set[str] = set()
        self.on_change: Callable[[str], None] = lambda _: None
        self.on_leave: Callable[[str, str], None] = lambda _, __: None
        self._channel = bus.channel(NAME)
        bus.handle(self._channel, self._on_hint)
        bus.on_reconnect(reader.missed_decks)

    async def publish(self, deck_id: str, deck_of: Mapping[str, str | None]) -> None:
        """After the commit. ``deck_of``: polls whose deck has changed."""
        self._reader.set_decks(deck_of)
        await self._send(deck_id, deck_of)
        self.on_change(deck_id)

    async def leave(self, deck_id: str, poll_id: str) -> None:
        """Before the poll is closed: sockets that follow the deck need not hear of that, for they are told of the move."""
        with suppress(PollroomError):
            await self._bus.publish(self._channel, msgspec.json.encode((deck_id, {}, poll_id)))
        self.on_leave(deck_id, poll_id)

    async def heal(self) -> None:
        """Send again what was not sent, and read again what may have been missed."""
        unsent, self._unsent = self._unsent, set()
        for deck_id in unsent:
            await self._send(deck_id, {})
        await self._reader.reread_decks()

    async def _send(self, deck_id: str, deck_of: Mapping[str, str | None]) -> None:
        try:
            await self._bus.publish(self._channel, msgspec.json.encode((deck_id, deck_of)))
        except PollroomError:
            if len(self._unsent) < UNSENT:
                self._unsent.add(deck_id)

    def _on_hint(self, payload: bytes) -> None:
        deck_id, deck_of, *left = msgspec.json.decode(payload)
        if left:
            self.on_leave(deck_id, left[0])
            return
        self._reader.set_decks(deck_of)
        self.on_change(deck_id)
