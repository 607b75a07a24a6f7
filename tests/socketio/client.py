"""The real ``socket.io-client`` in a process of its own, and what it told, waited for instead of slept for."""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tools.harness.http import Answer, Person
from tools.harness.process import Server
from tools.harness.shapes import Memory, poll_of
from tools.harness.websocket import matches

DRIVER = Path(__file__).parent / "driver.mjs"
News = dict[str, Any]


class Client:
    """``news`` holds all that the driver told, in order; ``wire`` the packets' texts as they came in."""

    def __init__(self, process: asyncio.subprocess.Process, memory: Memory) -> None:
        self._process = process
        self._memory = memory
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1_000_000)  # below: those that tests give themselves
        self._pairs: dict[str, tuple[int, int]] = {}
        self.news: list[News] = []
        self.wire: list[str] = []
        self.violations: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            news = json.loads(line)
            if news["news"] == "wire":
                self.wire.append(str(news["data"]))
            else:
                self.news.append(news)
                self._check(news)
            self._changed.set()

    def _check(self, news: News) -> None:
        try:
            for message in news["args"] if news["news"] == "event" else [news.get("answer")]:
                if not isinstance(message, dict) or "type" not in message:
                    continue
                if news["news"] == "event":
                    assert news["event"] == message["type"].lower()
                self._memory.frame(message)
                if message.get("tally") is not None and news["news"] == "event":
                    poll_id, pair = (
                        str(poll_of(message)),
                        (message["tally"]["epoch"], message["tally"]["seq"]),
                    )
                    assert pair >= self._pairs.get(poll_id, pair), f"{pair} after {self._pairs[poll_id]}"
                    self._pairs[poll_id] = pair
        except (AssertionError, KeyError, TypeError) as error:
            self.violations.append(f"{type(error).__name__} {error} in {str(news)[:500]}")

    async def do(self, action: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": action} | fields).encode() + b"\n")
        await self._process.stdin.drain()

    async def until(self, find: Callable[[], Any], what: str, timeout: float = 10) -> Any:
        try:
            async with asyncio.timeout(timeout):
                while (found := find()) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            listing = "\n".join(str(news)[:300] for news in self.news[-12:])
            raise AssertionError(f"no {what} in {timeout} s; the last news:\n{listing}") from None
        return found

    def mark(self) -> int:
        return len(self.news)

    async def hears(self, kind: str, mark: int = 0, timeout: float = 10, **match: Any) -> News:
        """The first news of that kind from ``mark`` on, already here or still to come."""

        def find() -> News | None:
            for news in self.news[mark:]:
                if news["news"] == kind and matches(news, match):
                    return news
            return None

        found: News = await self.until(find, f"{kind} {match}", timeout)
        return found

    async def event(self, name: str, mark: int = 0, timeout: float = 10, **match: Any) -> News:
        """The object that came with the first such event from ``mark`` on."""

        def check(args: list[Any]) -> bool:
            return matches(args[0], match)

        message: News = (await self.hears("event", mark, timeout, event=name, args=check))["args"][0]
        return message

    async def shows(self, poll: News, mark: int = 0, timeout: float = 10, **match: Any) -> News:
        """The first event from ``mark`` on, of any name, whose tally of the poll matches."""

        def check(args: list[Any]) -> bool:
            return (
                bool(args)
                and args[0].get("tally") is not None
                and poll_of(args[0]) == poll["id"]
                and matches(args[0]["tally"], match)
            )

        message: News = (await self.hears("event", mark, timeout, args=check))["args"][0]
        return message

    async def ask(self, event: str, *args: Any, timeout: float = 10) -> Any:
        """Emit, and what the acknowledgement brings."""
        number = next(self._numbers)
        await self.do("emit", event=event, args=args, ack=number)
        return (await self.hears("ack", timeout=timeout, ack=number))["answer"]

    async def refused(self, code: str, event: str, *args: Any) -> News:
        answer: News = await self.ask(event, *args)
        assert (answer["type"], answer["code"]) == ("ERROR", code), answer
        return answer

    async def tell(self, event: str, *args: Any) -> None:
        """Emit without a callback."""
        await self.do("emit", event=event, args=args)

    async def join(self, poll: News) -> News:
        """The state, once it has come both ways: as the callback's answer and after it as an event."""
        mark = self.mark()
        answer: News = await self.ask("join_poll", {"pollId": poll["id"]})
        assert answer["type"] == "POLL_STATE", answer
        await self.event("poll_state", mark, poll=lambda shown: shown["id"] == poll["id"])
        return answer

    async def vote(self, poll_id: str, options: list[str] | None = None, **fields: Any) -> Answer:
        return _answer(await self.ask("vote", {"pollId": poll_id, "optionIds": options or []} | fields))

    async def retract(self, poll_id: str, ballot: str | None = None) -> Answer:
        return _answer(
            await self.ask("retract_vote", {"pollId": poll_id} | ({"id": ballot} if ballot else {}))
        )

    async def end(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader


def _answer(body: News) -> Answer:
    if body["type"] == "ERROR":
        return Answer(body["code"], body)
    return Answer(None, {name: value for name, value in body.items() if name != "type"})


@contextlib.asynccontextmanager
async def started(
    folder: str,
    server: Server,
    token: Person | str | None = None,
    transports: tuple[str, ...] = ("websocket",),
    base: str | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """A client that was told to connect. At the end every message must have had the contract's shape."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        env={"PATH": os.environ["PATH"], "SOCKETIO_CLIENT": folder},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    client = Client(process, server.memory)
    bearer = token.token if isinstance(token, Person) else token
    options |= {"transports": list(transports)} | ({} if bearer is None else {"auth": {"token": bearer}})
    try:
        await client.do("open", url=base or server.url(), options=options)
        yield client
    finally:
        await client.end()
    assert not client.violations, "\n".join(client.violations)


@contextlib.asynccontextmanager
async def connected(
    folder: str, server: Server, token: Person | str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """As ``started``, once it is connected (and known, where it has a token)."""
    async with started(folder, server, token, **options) as client:
        await client.hears("connect")
        if token is not None:
            await client.event("authenticated")
        yield client
