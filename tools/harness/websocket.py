"""A WebSocket client that keeps every frame, and waits for frames instead of sleeping."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from tools.harness.http import Answer, Person
from tools.harness.process import Server
from tools.harness.shapes import BALLOT_ID, Memory, poll_of

Frame = dict[str, Any]


def matches(value: Any, wanted: Any) -> bool:
    """``wanted`` is a predicate, a dict of which each key must match, or the value itself."""
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(name in value and matches(value[name], part) for name, part in wanted.items())
    return bool(value == wanted)


class Socket:
    """``frames`` holds all that came, ``raw`` the same as text, ``times`` when, by the loop's clock."""

    def __init__(self, connection: ClientConnection, memory: Memory) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self.raw: list[str] = []
        self.times: list[float] = []
        self.violations: list[str] = []
        self._taken: set[int] = set()
        self._pairs: dict[str, tuple[int, int]] = {}
        self._versions: dict[str, int] = {}
        self._memory = memory
        self._ended = False
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.connection:
                self._keep(message)
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self._ended = True
            self._news.set()

    def _keep(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.violations.append(f"a binary frame: {message[:80]!r}")
            return
        frame = json.loads(message)
        self.raw.append(message)
        self.frames.append(frame)
        self.times.append(asyncio.get_running_loop().time())
        try:
            self._memory.frame(frame)
            if "deck" in frame:
                deck_id, version = frame["deck"]["id"], frame["deck"]["version"]
                assert version >= self._versions.get(deck_id, version), f"version {version} went back"
                self._versions[deck_id] = version
            if frame.get("tally") is not None:
                poll_id, pair = str(poll_of(frame)), (frame["tally"]["epoch"], frame["tally"]["seq"])
                assert pair >= self._pairs.get(poll_id, pair), f"{pair} after {self._pairs[poll_id]}"
                self._pairs[poll_id] = pair
        except (AssertionError, KeyError, TypeError) as error:
            self.violations.append(f"{type(error).__name__} {error} in {message[:500]}")

    async def send(self, message: Frame) -> None:
        await self.connection.send(json.dumps(message))

    async def send_text(self, text: str | bytes) -> None:
        """``text`` as one text frame, whatever it is."""
        await self.connection.send(text, text=True)

    async def until(self, find: Callable[[], Any], what: str, timeout: float = 5) -> Any:
        """Wait until ``find`` gives something; that."""
        try:
            async with asyncio.timeout(timeout):
                while (found := find()) is None:
                    if self._ended:
                        break
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            found = None
        if found is None:
            state = f"closed with {self.connection.close_code}" if self._ended else "open"
            listing = "\n".join(text[:300] for text in self.raw[-12:])
            raise AssertionError(f"no {what} in {timeout} s; the socket is {state}; last frames:\n{listing}")
        return found

    def _take(self, kinds: Sequence[str], match: dict[str, Any], since: int = 0) -> Frame | None:
        for index in range(since, len(self.frames)):
            frame = self.frames[index]
            if index not in self._taken and frame["type"] in kinds and matches(frame, match):
                self._taken.add(index)
                return frame
        return None

    async def expect(self, kind: str, timeout: float = 5, **match: Any) -> Frame:
        """The first matching frame not yet taken by an earlier call, already here or still to come."""
        frame: Frame = await self.until(lambda: self._take([kind], match), f"{kind} {match or ''}", timeout)
        return frame

    async def either(self, *kinds: str, timeout: float = 5, **match: Any) -> Frame:
        frame: Frame = await self.until(lambda: self._take(kinds, match), f"{kinds} {match or ''}", timeout)
        return frame

    async def closed(self, timeout: float = 5) -> int:
        """The code that the server closes with."""
        await self.until(lambda: True if self._ended else None, "close", timeout)
        return int(self.connection.close_code or 0)

    @property
    def is_open(self) -> bool:
        return not self._ended

    def mark(self) -> int:
        """A place in ``frames``, to look at what comes from here on."""
        return len(self.frames)

    def since(self, mark: int, kind: str | None = None) -> list[Frame]:
        return [frame for frame in self.frames[mark:] if kind in (None, frame["type"])]

    async def settle(self) -> str:
        """PING and its PONG: all that was sent before is here; the server's time."""
        mark = self.mark()
        await self.send({"type": "PING"})
        pong = await self.until(lambda: self._take(["PONG"], {}, mark), "PONG")
        return str(pong["serverTime"])

    async def auth(self, who: Person | str) -> Frame:
        await self.send({"type": "AUTH", "token": who.token if isinstance(who, Person) else who})
        return await self.expect("AUTHENTICATED")

    async def join(self, poll: dict[str, Any]) -> Frame:
        """JOIN_POLL; the POLL_STATE that answers it."""
        mark = self.mark()
        await self.send({"type": "JOIN_POLL", "pollId": poll["id"]})
        match = {"poll": {"id": poll["id"]}}
        frame: Frame = await self.until(lambda: self._take(["POLL_STATE"], match, mark), "POLL_STATE")
        return frame

    async def join_deck(self, deck: dict[str, Any]) -> Frame:
        """JOIN_DECK; the DECK_STATE that answers it."""
        mark = self.mark()
        await self.send({"type": "JOIN_DECK", "deckId": deck["id"]})
        match = {"deck": {"id": deck["id"]}}
        frame: Frame = await self.until(lambda: self._take(["DECK_STATE"], match, mark), "DECK_STATE")
        return frame

    async def leave(self, poll: dict[str, Any]) -> Frame:
        await self.send({"type": "LEAVE_POLL", "pollId": poll["id"]})
        return await self.expect("LEFT_POLL", pollId=poll["id"])

    async def shows(self, poll: dict[str, Any], timeout: float = 5, mark: int = 0, **match: Any) -> Frame:
        """The first frame from ``mark`` on, of any kind, whose tally of the poll matches."""

        def find() -> Frame | None:
            for frame in self.frames[mark:]:
                if (
                    frame.get("tally") is not None
                    and poll_of(frame) == poll["id"]
                    and matches(frame["tally"], match)
                ):
                    return frame
            return None

        frame: Frame = await self.until(find, f"tally {match}", timeout)
        return frame

    async def viewers(self, poll: dict[str, Any], count: int, timeout: float = 5) -> Frame:
        """Wait until the newest word about the poll's viewers is ``count``."""

        def find() -> Frame | None:
            told = [f for f in self.frames if "viewers" in f and poll_of(f) == poll["id"]]
            return told[-1] if told and told[-1]["viewers"] == count else None

        frame: Frame = await self.until(find, f"{count} viewers", timeout)
        return frame

    async def vote(self, poll_id: str, options: list[str] | None = None, **fields: Any) -> Answer:
        body = fields if options is None else {"optionIds": options} | fields
        return await self._ballot({"type": "VOTE", "pollId": poll_id} | body, "VOTE_ACCEPTED")

    async def retract(self, poll_id: str, ballot: str | None = None) -> Answer:
        message = {"type": "RETRACT_VOTE", "pollId": poll_id} | ({"id": ballot} if ballot is not None else {})
        return await self._ballot(message, "VOTE_RETRACTED")

    async def _ballot(self, message: Frame, kind: str) -> Answer:
        """Correlated by ``id``; without one, or with one that is not valid, one at a time."""
        mark = self.mark()
        await self.send(message)
        wanted = message.get("id")

        def mine(frame: Frame) -> bool:
            if isinstance(wanted, str) and BALLOT_ID.match(wanted):
                return bool(frame.get("id") == wanted)
            return wanted is None or "id" not in frame

        def find() -> Frame | None:
            for index in range(mark, len(self.frames)):
                frame = self.frames[index]
                if index not in self._taken and frame["type"] in (kind, "ERROR") and mine(frame):
                    self._taken.add(index)
                    return frame
            return None

        frame = await self.until(find, f"{kind} or ERROR", 10)
        if frame["type"] == "ERROR":
            return Answer(frame["code"], frame)
        return Answer(None, {name: value for name, value in frame.items() if name != "type"})

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self.connection.transport.abort()

    async def _end(self) -> None:
        await self.connection.close()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader


@contextlib.asynccontextmanager
async def socket(
    server: Server,
    token: Person | str | None = None,
    origin: str | None = None,
    *,
    path: str = "/ws",
    subprotocols: Sequence[str] | None = None,
    base: str | None = None,
) -> AsyncIterator[Socket]:
    """A socket after its WELCOME; with ``token`` in the header after its AUTHENTICATED too.

    At the end every frame must have had the contract's shape, and no tally or deck may have gone back.
    """
    async with bare_socket(server, token, origin, path=path, subprotocols=subprotocols, base=base) as ws:
        await ws.expect("WELCOME")
        if token is not None:
            await ws.expect("AUTHENTICATED")
        yield ws


@contextlib.asynccontextmanager
async def bare_socket(
    server: Server,
    token: Person | str | None = None,
    origin: str | None = None,
    *,
    path: str = "/ws",
    subprotocols: Sequence[str] | None = None,
    base: str | None = None,
) -> AsyncIterator[Socket]:
    """As ``socket``, but nothing is awaited yet."""
    bearer = token.token if isinstance(token, Person) else token
    connection = await connect(
        (base or server.url()).replace("http", "ws", 1) + path,
        origin=None if origin is None else Origin(origin),
        subprotocols=None if subprotocols is None else [Subprotocol(name) for name in subprotocols],
        additional_headers={"Authorization": f"Bearer {bearer}"} if bearer is not None else None,
        compression=None,
        ping_interval=None,
        max_size=None,
        close_timeout=3,
        open_timeout=10,
        proxy=None,
    )
    ws = Socket(connection, server.memory)
    try:
        yield ws
    finally:
        await ws._end()
    assert not ws.violations, "\n".join(ws.violations)


class Sockets:
    """Votes over WebSocket, one socket a person; the same calls as ``Api.vote`` and ``Api.retract``."""

    def __init__(self, server: Server, stack: contextlib.AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._open: dict[str | None, Socket] = {}
        self._opening = asyncio.Lock()

    async def of(self, who: Person | str | None) -> Socket:
        key = who.token if isinstance(who, Person) else who
        async with self._opening:
            if key not in self._open:
                self._open[key] = await self._stack.enter_async_context(socket(self._server, who))
        return self._open[key]

    async def vote(
        self, who: Person | str | None, poll_id: str, options: list[str] | None = None, **fields: Any
    ) -> Answer:
        return await (await self.of(who)).vote(poll_id, options, **fields)

    async def retract(self, who: Person | str | None, poll_id: str, ballot: str | None = None) -> Answer:
        return await (await self.of(who)).retract(poll_id, ballot)
