"""Pipelines over several cluster nodes, and the errors of a node that does not serve a slot."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

from redis.asyncio import Redis
from redis.commands import AsyncCoreCommands
from redis.event import EventDispatcher
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from .client import SILENT

MOVED: Final = (AskError, TryAgainError, ClusterDownError, ReadOnlyError)
"""Not executed: another node serves the slot (``MOVED`` is an ``AskError`` here), it is migrating, or it has no master."""


class Moving(ConnectionError):
    """The slot is moving or has moved. The command was not executed and can be sent again."""


def key_of(args: Sequence[Any]) -> str | None:
    """The first argument with the hash tag of a partition."""
    return next((word for word in args if isinstance(word, str) and word.startswith("{p")), None)


def tag_of(key: str) -> str:
    return key[: key.index("}") + 1]


class ClusterPipeline(AsyncCoreCommands):
    """Sends commands of several partitions in one round trip per node, to all nodes concurrently."""

    _is_async_client: Literal[True] = True
    _event_dispatcher = EventDispatcher()

    def __init__(self, at: Callable[[str], Awaitable[Redis]], doubt: Callable[[str], None]) -> None:
        self._at = at
        self._doubt = doubt
        self._commands: list[tuple[Sequence[Any], Mapping[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> "ClusterPipeline":
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies in order. Without ``raise_on_error``, a failed command yields its exception."""
        replies: list[Any] = [None] * len(self._commands)
        groups: dict[Redis, list[int]] = {}
        keys = [key_of(args) or "" for args, _ in self._commands]
        for number, key in enumerate(keys):
            try:
                groups.setdefault(await self._at(key), []).append(number)
            except SILENT as error:
                replies[number] = error

        async def send(client: Redis, numbers: list[int]) -> None:
            pipe = client.pipeline(transaction=False)
            for number in numbers:
                args, options = self._commands[number]
                pipe.execute_command(*args, **options)
            try:
                answers: Sequence[Any] = await pipe.execute(raise_on_error=False)
            except SILENT as error:
                answers = [error] * len(numbers)
            for number, answer in zip(numbers, answers, strict=True):
                if isinstance(answer, MOVED):
                    answer = Moving(str(answer))
                if isinstance(answer, SILENT):
                    self._doubt(keys[number])
                replies[number] = answer

        await asyncio.gather(*(send(client, numbers) for client, numbers in groups.items()))
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, (ResponseError, *SILENT)):
                    raise reply
        return replies
