"""What ``database.py`` needs of a driver: one connection, statements on its raw cursor, what its errors mean.

The ``databases`` library gives URL, connections and MySQL's pool. Its own ``execute`` is not used: it answers the last
row id instead of a row count, costs 230 µs a statement and 96 µs a row in bulk.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol

from ...ports.database import Value
from .query_files import Dialect, Query

BUSY_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 10


class Fault(Enum):
    DUPLICATE = "a unique key is taken"
    DATA = "the data is refused"
    EXISTS = "DDL that was done before"
    PASSING = "may work later"
    LOST = "the server is gone"
    NOT_IN = "the URL leads to nothing that lets us in"
    NO_RIGHT = "the user may not"
    BUG = "anything else"


class Denied(Exception):
    """The operator must mend it: a wrong password, database or file, a right that is missing. ``str()`` is the server's text."""


def describe(error: BaseException) -> str:
    """What an error says, in one line, without its number; what led to it behind."""
    text = str(error.args[-1]) if error.args else ""
    text = " ".join(text.split())[:300] or type(error).__name__
    # Behind a timeout there is but the cancellation that it was.
    return f"{text}: {describe(error.__cause__)}" if isinstance(error.__cause__, Exception) else text


KEEPS_CONNECTION: Final = frozenset({Fault.DUPLICATE, Fault.DATA, Fault.EXISTS})


class Connection(Protocol):
    """One connection. After ``drop`` it is gone, whatever it was doing; the server rolls back."""

    @property
    def usable(self) -> bool: ...

    async def open(self) -> None: ...

    async def alive(self) -> None:
        """Raises where the server is gone."""

    async def fetch(self, text: str, values: Mapping[str, Value]) -> list[dict[str, Any]]: ...

    async def run(self, text: str, values: Mapping[str, Value]) -> int: ...

    async def many(self, text: str, rows: Sequence[Mapping[str, Value]]) -> None: ...

    async def prepare(self, query: Query) -> None:
        """Have the server check the statement without running it."""

    def drop(self) -> None:
        """At once, without waiting."""

    async def close(self) -> None: ...


class Driver(Protocol):
    """``one_writer``: writers of this process take turns before they ask for the database's lock."""

    dialect: Dialect
    connections: int
    begin: str
    one_writer: bool

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def connection(self) -> Connection: ...

    def fault(self, error: BaseException) -> Fault: ...

    def no_table(self, error: BaseException) -> bool: ...

    async def check(self, connection: Connection) -> None:
        """Raise ``Denied`` if the server is set so that data would be damaged."""

    async def durability(self, connection: Connection) -> tuple[bool, str]: ...
