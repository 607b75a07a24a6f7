"""Two web processes and a worker on one MariaDB and one Redis; each process to be started, stopped and killed alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.harness.http import Answer, Api, Person
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, socket
from tools.servers import RedisServer


@dataclass(frozen=True)
class Site:
    """What all instances of a session share. ``settings`` name the stores; a worker runs on them."""

    settings: dict[str, str]
    database: str
    redis: RedisServer


@dataclass(frozen=True)
class Pair:
    """Two instances, whose tallies one memory compares; ``via_a``, ``via_b``: HTTP to one of them alone."""

    a: Server
    b: Server
    via_a: Api
    via_b: Api

    @property
    def both(self) -> tuple[Server, Server]:
        return self.a, self.b

    @property
    def apis(self) -> tuple[Api, Api]:
        return self.via_a, self.via_b

    async def ready(self, seconds: float = 15) -> None:
        """Wait until both say ``ready``: an earlier fault is over."""
        for server in self.both:
            await eventually(
                lambda server=server: readiness(server),  # type: ignore[misc]
                lambda found: found == (200, "ready"),
                seconds,
                "readiness",
            )


@contextlib.contextmanager
def servers(
    folder: Path,
    settings: Mapping[str, str],
    a: Mapping[str, str] | None = None,
    b: Mapping[str, str] | None = None,
) -> Iterator[tuple[Server, Server]]:
    """Both started; ``a`` and ``b`` are settings of one alone. A trace in a log at the end is a failure."""
    with ExitStack() as stack:
        one = stack.enter_context(serving(folder / "a", {**settings, **(a or {})}))
        two = stack.enter_context(serving(folder / "b", {**settings, **(b or {})}))
        two.memory = one.memory
        yield one, two


@contextlib.asynccontextmanager
async def pair_of(both: tuple[Server, Server]) -> AsyncIterator[Pair]:
    async with Api(both[0]) as via_a, Api(both[1]) as via_b:
        yield Pair(*both, via_a, via_b)


@contextlib.asynccontextmanager
async def pair(
    folder: Path,
    settings: Mapping[str, str],
    a: Mapping[str, str] | None = None,
    b: Mapping[str, str] | None = None,
) -> AsyncIterator[Pair]:
    # In a thread: what stands between the servers and Redis may run in this loop.
    opening = servers(folder, settings, a, b)
    both = await asyncio.to_thread(opening.__enter__)
    try:
        async with pair_of(both) as found:
            yield found
    except BaseException as error:
        await asyncio.to_thread(opening.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(opening.__exit__, None, None, None)


async def readiness(server: Server) -> tuple[int, str]:
    """HTTP status and ``status`` of ``/readyz``; ``(0, "")`` where nobody answers."""
    code, body = await asyncio.to_thread(server.readiness)
    return code, body["status"] if body else ""


async def in_room(stack: AsyncExitStack, server: Server, poll: dict[str, Any], count: int) -> list[Socket]:
    """``count`` sockets of nobody, joined."""

    async def one() -> Socket:
        sock = await stack.enter_async_context(socket(server))
        await sock.join(poll)
        return sock

    found: list[Socket] = []
    for start in range(0, count, 25):
        found += await asyncio.gather(*(one() for _ in range(min(25, count - start))))
    return found


class Voting:
    """Guests who vote one after another, each once, and send what is not known again until it is known.

    ``acked``: voter -> the answer. ``option`` of a voter: by its number in turn.
    """

    def __init__(self, poll: dict[str, Any], voters: Sequence[Person]) -> None:
        self.poll = poll
        self.voters = voters
        self.acked: dict[int, Answer] = {}
        self.unknown = 0

    def choice(self, index: int) -> list[str]:
        options = option_ids(self.poll)
        return [options[index % len(options)]]

    def expected(self) -> dict[str, int]:
        """Counts of what was acknowledged."""
        counts: dict[str, int] = {}
        for index in self.acked:
            for option in self.choice(index):
                counts[option] = counts.get(option, 0) + 1
        return counts

    async def cast(self, api: Api, index: int, timeout: float = 20) -> Answer:
        """Until acknowledged; ``UNAVAILABLE`` and lost connections are sent again with the same id."""
        body = {"optionIds": self.choice(index), "id": f"v{index}"}

        async def answer() -> Answer | None:
            path = f"/polls/{self.poll['id']}/votes"
            response = await api.post(path, body, self.voters[index], allow_5xx=True)
            if response.status_code >= 500:
                assert response.json()["code"] == "UNAVAILABLE", response.text
                self.unknown += 1
                return None
            return Answer(None if response.status_code < 300 else response.json()["code"], response.json())

        found = await eventually(answer, lambda found: found is not None, timeout, "an answer to a vote")
        assert found is not None and found.code is None, found
        self.acked[index] = found
        return found
