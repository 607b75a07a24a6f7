"""Commands to several nodes of a cluster at once, and what a node answers that does not serve a slot."""

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
"""Not executed: the slot is elsewhere (``MOVED`` is an ``AskError`` here), on its way, or without a master."""


class Moving(ConnectionError):
    """The slot moves, or has moved: not executed, and to be sent again."""


def key_of(args: Sequence[Any]) -> str | None:
    """The first word with a partition's tag."""
    return next((word for word in args if isinstance(word, str) and word.startswith("{p")), None)


def tag_of(key: str) -> str:
    return key[: key.index("}") + 1]


class ClusterPipeline(AsyncCoreCommands):
    """Commands of several partitions: one round trip a node, all nodes at once."""

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
        """The replies in order; an exception in its place where it is not to be raised."""
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
