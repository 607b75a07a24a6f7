"""The voters: over HTTP, on a raw WebSocket, and with socket.io-client."""

import asyncio
import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ANSWER_SECONDS = 5.0
JOIN_SECONDS = 20.0
SENDINGS = 10
"""Of one ballot; more than one where the answer was lost or is ``UNAVAILABLE``."""
NOT_KNOWN = ("UNAVAILABLE", "INTERNAL", "RATE_LIMITED")
DRIVER = Path(__file__).with_name("clients.mjs")
Message = dict[str, Any]


class Failed(Exception):
    """What the demo shows is not so. ``str()`` says what."""


def answered(response: httpx.Response) -> Message:
    """The body, in the form that sockets get it: a problem document is an ``ERROR``."""
    body: Message = response.json() if response.content else {}
    return body if response.is_success else {"type": "ERROR"} | body


@dataclass
class Voter(ABC):
    """``choice``: the option that stands by what was acknowledged to this voter, and by nothing else."""

    name: ClassVar[str]
    instance: int
    http: httpx.AsyncClient
    token: str
    poll: str
    choice: str | None = None
    ballots: int = 0
    last: tuple[str, Message] = ("", {})
    """The newest ballot id that voted, and its answer."""

    @abstractmethod
    async def send(self, option: str | None, ballot: str) -> Message | None:
        """One ballot, a retraction where ``option`` is none; its answer, none where none came in time."""

    async def cast(self, option: str | None, ballot: str = "", refusal: str = "") -> Message:
        """Sent with one id until it is answered. Raises ``Failed`` where it is refused, but for ``refusal``."""
        ballot = ballot or secrets.token_hex(8)
        for _ in range(SENDINGS):
            answer = await self.send(option, ballot)
            code = answer.get("code") if answer is not None else "UNAVAILABLE"
            if answer is None or code in NOT_KNOWN:
                await asyncio.sleep((answer or {}).get("retryAfter", 0.2))
                continue
            if refusal or code:
                if code != refusal:
                    raise Failed(f"a voter by {self.name} expected {refusal or 'a yes'} and got {answer}")
                return answer
            if option is not None:
                self.last = (ballot, answer)
            self.choice = option
            self.ballots += 1
            return answer
        raise Failed(f"a voter by {self.name} got no answer to a ballot that it sent {SENDINGS} times")


class HttpVoter(Voter):
    name = "HTTP"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def send(self, option: str | None, ballot: str) -> Message | None:
        path = f"/polls/{self.poll}/votes"
        with suppress(httpx.TransportError):
            if option is not None:
                body = {"optionId": option, "id": ballot}
                return answered(await self.http.post(path, json=body, headers=self._headers))
            headers = self._headers | {"Idempotency-Key": ballot}
            return answered(await self.http.delete(f"{path}/mine", headers=headers))
        return None


@dataclass
class Watcher(Voter):
    """In the room. ``tally``: the newest that came. ``ended``: how the server closed the connection."""

    tally: Message = field(default_factory=dict)
    ended: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answer: "asyncio.Future[Message | None] | None" = None
    asked: str = ""

    @abstractmethod
    async def tell(self, type_: str, message: Message) -> None: ...

    async def send(self, option: str | None, ballot: str) -> Message | None:
        self.answer, self.asked = asyncio.get_running_loop().create_future(), ballot
        chosen = {} if option is None else {"optionId": option}
        vote = "RETRACT_VOTE" if option is None else "VOTE"
        await self.tell(vote, {"pollId": self.poll, "id": ballot} | chosen)
        with suppress(TimeoutError):
            return await asyncio.wait_for(self.answer, ANSWER_SECONDS + 1)
        return None

    def answers(self, message: Message | None) -> None:
        late = message is not None and message.get("id") != self.asked
        if self.answer is not None and not self.answer.done() and not late:
            self.answer.set_result(message)

    def shown(self, message: Any) -> None:
        if isinstance(message, dict) and "tally" in message:
            tally = message["tally"]
            if (tally["epoch"], tally["seq"]) < (self.tally.get("epoch", 0), self.tally.get("seq", 0)):
                raise Failed(f"the tally of a voter by {self.name} went back: {self.tally}, then {tally}")
            self.tally = tally
        self.changed.set()

    async def until(self, what: str, seconds: float = JOIN_SECONDS, *, final: bool = False) -> None:
        """In the room; with the ``final`` tally."""
        try:
            async with asyncio.timeout(seconds):
                while not self.tally or (final and not self.tally["final"]):
                    if self.ended:
                        raise Failed(f"a voter by {self.name} was disconnected: {self.ended}")
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise Failed(f"a voter by {self.name} waited {seconds:.0f} s for {what}") from None

    async def end(self) -> str:
        """How the server ended the connection, which it has been given a reason for. Raises ``Failed``."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self.ended:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise Failed(f"a {self.name} socket outlived its session") from None
        return self.ended


@dataclass
class RawVoter(Watcher):
    name = "raw WebSocket"
    socket: ClientConnection | None = None

    async def tell(self, type_: str, message: Message) -> None:
        assert self.socket is not None
        with suppress(ConnectionClosed):
            await self.socket.send(json.dumps({"type": type_} | message))

    async def run(self) -> None:
        """Until the connection ends."""
        url = f"ws://{self.http.base_url.host}:{self.http.base_url.port}/ws"
        async with connect(url, compression=None, proxy=None, ping_interval=None) as self.socket:
            await self.tell("AUTH", {"token": self.token})
            await self.tell("JOIN_POLL", {"pollId": self.poll})
            with suppress(ConnectionClosed):
                while True:
                    message = json.loads(await self.socket.recv())
                    if "id" in message:
                        self.answers(message)
                    else:
                        self.shown(message)
        self.ended = f"close code {self.socket.close_code}"
        self.changed.set()


@dataclass
class SocketIoVoter(Watcher):
    name = "Socket.IO"
    number: int = 0
    orders: asyncio.StreamWriter | None = None

    async def order(self, **what: Any) -> None:
        assert self.orders is not None
        self.orders.write(json.dumps({"n": self.number} | what).encode() + b"\n")
        await self.orders.drain()

    async def join(self) -> None:
        await self.order(url=str(self.http.base_url), token=self.token, pollId=self.poll)

    async def tell(self, type_: str, message: Message) -> None:
        await self.order(event=type_.lower(), message=message)

    def hears(self, news: str, message: Any) -> None:
        if news == "answer":
            self.answers(message)
        elif news == "disconnect":
            self.ended = message
            self.changed.set()
        elif news == "refused" or (news == "joined" and message["type"] == "ERROR"):
            raise Failed(f"a voter by {self.name} could not join: {message}")
        else:
            self.shown(message)


@asynccontextmanager
async def node(library: str, voters: list[SocketIoVoter], group: asyncio.TaskGroup) -> AsyncIterator[None]:
    """A process with a client for each of the voters. ``library``: the folder of socket.io-client."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        env=os.environ | {"SOCKETIO_CLIENT": library},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
        start_new_session=True,  # it ends when its input does: Ctrl-C is not for it
    )
    assert process.stdin is not None and process.stdout is not None
    out = process.stdout
    for number, voter in enumerate(voters):
        voter.number, voter.orders = number, process.stdin

    async def read() -> None:
        while line := await out.readline():
            told = json.loads(line)
            voters[told["n"]].hears(told["news"], told["message"])
        raise Failed("node ended")

    reader = group.create_task(read())
    try:
        yield
    finally:
        reader.cancel()
        await asyncio.wait([reader])
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ANSWER_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
