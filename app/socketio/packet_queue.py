"""What waits to be sent to one client: the engine's queue, bounded, and skipping to the newest."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

MAX_BACKLOG_BYTES: Final = 256 * 1024
"""Characters of answers that wait for one client; then it is too slow (4408)."""

Item = Any
"""A packet of the engine (which is untyped), or None, which ends its writer."""


class PacketQueue(asyncio.Queue[Item]):
    """Answers are never dropped; updates are, in favour of the newest of each poll and deck. Never blocks who puts.

    ``on_full`` is called once, when a client is too slow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_full: Callable[[], None] = lambda: None

    def _init(self, maxsize: int) -> None:
        self._answers: deque[Item] = deque()
        self._changes: dict[str, Item] = {}
        self._updates: dict[str, Item] = {}
        self._size = 0
        self._full = False

    def _put(self, item: Item) -> None:
        self._answers.append(item)
        self._size += _size(item)
        if self._size > MAX_BACKLOG_BYTES and not self._full:
            self._full = True
            asyncio.get_running_loop().call_soon(self.on_full)

    def _get(self) -> Item:
        if self._answers:
            item = self._answers.popleft()
            self._size -= _size(item)
            return item
        waiting = self._changes or self._updates
        return waiting.pop(next(iter(waiting)))

    def qsize(self) -> int:
        return len(self._answers) + len(self._changes) + len(self._updates)

    def empty(self) -> bool:
        return not self.qsize()

    async def join(self) -> None:
        """Nobody waits for a client."""

    def update(self, room_id: str, item: Item) -> None:
        self._updates[room_id] = item
        self._wake()

    def change(self, room_id: str, item: Item, outdated: Iterable[str | None] = ()) -> None:
        for known in (room_id, *outdated):
            self.forget(known)
        self._changes[room_id] = item
        self._wake()

    def forget(self, room_id: str | None) -> None:
        if room_id is not None:
            self._changes.pop(room_id, None)
            self._updates.pop(room_id, None)

    def keep_change(self, room_id: str) -> None:
        if (item := self._changes.pop(room_id, None)) is not None:
            self.put_nowait(item)

    def clear(self) -> None:
        self._answers.clear()
        self._changes.clear()
        self._updates.clear()
        self._size = 0

    def _wake(self) -> None:
        """Whoever waits for an item looks again."""
        self._wakeup_next(self._getters)  # type: ignore[attr-defined]

    def task_done(self) -> None:
        """Items are not counted."""


def _size(item: Item) -> int:
    return len(item.data) if item is not None and isinstance(item.data, str) else 1
