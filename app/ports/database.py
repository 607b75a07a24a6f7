"""SQL by named queries."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Value = str | int | None


class Queries(Protocol):
    """Named queries of ``sql/queries/``, on one connection in a transaction or each on its own.

    Raises ``DuplicateKey``, ``BadRow`` (the data's fault), or ``PollroomError('UNAVAILABLE')`` for everything that may
    pass: no connection within the limit, a lost one, a deadlock, a lock timeout, a full disk.
    """

    async def all(self, query: str, **values: Value) -> list[dict[str, Any]]: ...

    async def one(self, query: str, **values: Value) -> dict[str, Any] | None: ...

    async def run(self, query: str, **values: Value) -> int:
        """Execute a writing query; the number of rows that it matched."""

    async def bulk(self, query: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Execute a multi-row ``INSERT … VALUES`` for all rows, in as few statements as the server allows."""


class Database(Queries, Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Queries]:
        """One transaction on one connection: committed at the end, rolled back by an exception.

        On SQLite it begins ``IMMEDIATE``: one writer at a time.
        """
