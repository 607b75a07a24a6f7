"""What ends a statement on MySQL and MariaDB that nobody waits for any more.

Neither notices within a statement that its client is gone; it runs on and keeps its locks. MariaDB bounds every statement
by itself, MySQL only reads. Other statements of MySQL are killed by whoever gave up waiting for them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from .driver import BUSY_SECONDS

MAX_ABANDONED: Final = 100


def statement_bound(seconds: int) -> str:
    """0: none. Locks of tables and schemas are waited for as long: MySQL waits for a year unless told otherwise.

    MySQL takes the text between ``/*M!`` and ``*/`` for a comment, MariaDB the text behind ``/*!80000``.
    """
    return (
        f"SET SESSION lock_wait_timeout = {seconds or 3600}"
        f" /*M! , SESSION max_statement_time = {seconds} */"
        f" /*!80000 , SESSION max_execution_time = {seconds * 1000} */"
    )


class Place(NamedTuple):
    """A connection as its server knows it. ``server``: none where the server bounds statements by itself."""

    connection: int
    server: str | None


# MySQL has server_uuid and MariaDB has not. A proxy may lead the next connection to another server, with other ids.
PLACE: Final = "SELECT CONNECTION_ID() AS connection /*!80000 , @@server_uuid AS server */"


class Killer(Protocol):
    """A connection of its own to the same address."""

    async def place(self) -> Place: ...

    async def kill(self, connection: int) -> None: ...

    def drop(self) -> None: ...


class Abandoned:
    """Connections that were given up in the middle of a statement: they are killed, with what they do.

    One try each, for at most ``BUSY_SECONDS``: where the server cannot be reached, its own limits must do.
    """

    def __init__(self, connect: Callable[[], Awaitable[Killer]]) -> None:
        self._connect = connect
        self._places: set[Place] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, place: Place) -> None:
        if place.server is None or len(self._places) >= MAX_ABANDONED:
            return
        self._places.add(place)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._kill_all())

    async def close(self) -> None:
        """Returns when all were killed, or could not be."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    async def _kill_all(self) -> None:
        while self._places:
            places, self._places = self._places, set()
            with suppress(Exception):
                async with asyncio.timeout(BUSY_SECONDS):
                    await self._kill(places)

    async def _kill(self, places: set[Place]) -> None:
        killer = await self._connect()
        try:
            here = (await killer.place()).server
            for place in places:
                if place.server == here:
                    with suppress(Exception):  # it has ended meanwhile
                        await killer.kill(place.connection)
        finally:
            killer.drop()
