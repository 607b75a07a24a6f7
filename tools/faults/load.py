"""Voters on sockets over all instances, who vote, change, retract, send again, and write down what they were told.

A voter has one ballot under way at a time. What is not known is sent again, to any instance, or now and then given up.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tools.faults.journal import Journal, Op, Outcome

ANSWER_SECONDS = 8.0
MOST_IDS = 60
PATIENCE = 0.8
"""How often a voter goes on until a ballot is known."""

EXPECTED = frozenset({"UNAVAILABLE", "ALREADY_VOTED", "CHANGE_NOT_ALLOWED", "POLL_CLOSED", "RATE_LIMITED"})

_encode = msgspec.json.encode
_decode = msgspec.json.decode


@dataclass
class Poll:
    id: str
    options: list[str]
    changes: bool


@dataclass
class Voter:
    name: str
    token: str


@dataclass
class Load:
    """``bases``: HTTP addresses of the instances. ``rate``: ballots a second, of all voters together.

    ``answered`` counts acknowledged ballots. ``rude``: answers that the contract does not allow.
    """

    bases: Sequence[str]
    voters: Sequence[Voter]
    polls: list[Poll]
    seed: int
    rate: float = 400.0
    journal: Journal = field(default_factory=Journal)
    answered: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    rude: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._busy = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.journal.changes.update({poll.id: poll.changes for poll in self.polls})

    async def __aenter__(self) -> "Load":
        self._tasks = [
            asyncio.create_task(self._run(voter, random.Random(f"{self.seed}:{number}")))
            for number, voter in enumerate(self.voters)
        ]
        return self

    async def __aexit__(self, kind: Any, *_: object) -> None:
        self._stop.set()
        self._go.set()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for one in done:
                if isinstance(one, BaseException):
                    raise one

    @property
    def spent(self) -> bool:
        """Most of what these voters may do in these polls is done: time for new ones."""
        room = sum(MOST_IDS for poll in self.polls if poll.changes) * len(self.voters)
        return self.answered > 0.75 * room

    @property
    def resting(self) -> bool:
        return not self._go.is_set()

    async def rest(self) -> None:
        """Let nothing new begin; returns when nothing is under way."""
        self._go.clear()
        while self._busy:
            await asyncio.sleep(0.02)

    def resume(self) -> None:
        self._go.set()

    async def until_answered(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more ballots were acknowledged."""
        goal = self.answered + count
        async with asyncio.timeout(seconds):
            while self.answered < goal:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    async def _run(self, voter: Voter, dice: random.Random) -> None:
        line = Line(self.bases, voter, dice)
        try:
            while not self._stop.is_set():
                await asyncio.sleep(dice.expovariate(self.rate / len(self.voters)))
                await self._go.wait()
                if self._stop.is_set():
                    return
                self._busy += 1
                try:
                    await self._one(line, voter, dice)
                finally:
                    self._busy -= 1
        finally:
            await line.close()

    async def _one(self, line: "Line", voter: Voter, dice: random.Random) -> None:
        poll = dice.choice(self.polls)
        ops = self.journal.of(poll.id, voter.name)
        if len(ops) >= MOST_IDS or (not poll.changes and len(ops) >= 3):
            return
        retract = bool(ops) and dice.random() < 0.15
        choices = () if retract else tuple(dice.sample(poll.options, dice.choice((1, 1, 1, 2))))
        op = Op(f"{len(ops)}-{dice.getrandbits(32):08x}", choices)
        ops.append(op)
        lost = False
        while True:
            answer = await line.ask(poll.id, op)
            if answer is None:
                lost = True
            elif answer["type"] != "ERROR":
                op.outcome = Outcome.OK
                op.seq = answer["seq"]
                op.cast_at = to_ms(answer["castAt"]) if "castAt" in answer else 0
                self.answered += 1
                return
            else:
                code = answer["code"]
                self.codes[code] = self.codes.get(code, 0) + 1
                if code not in EXPECTED or (code == "UNAVAILABLE" and not answer.get("retryAfter", 0) > 0):
                    self.rude.append(f"{poll.id} {voter.name}: {answer}")
                if code not in ("UNAVAILABLE", "INTERNAL"):
                    # Of this sending: an earlier one may have counted.
                    op.code = code
                    op.outcome = Outcome.LOST if lost else Outcome.REFUSED
                    return
            op.outcome = Outcome.LOST if lost else Outcome.GIVEN_UP
            if dice.random() > PATIENCE:
                return
            await asyncio.sleep(dice.uniform(0.05, 0.3))

    async def repeat(self, most: int) -> list[str]:
        """Send acknowledged ballots again, ``most`` of them at random; what is not the first answer."""
        dice = random.Random(self.seed)
        by_name = {voter.name: voter for voter in self.voters}
        known = [
            (poll, voter, op)
            for (poll, voter), ops in self.journal.ops.items()
            for op in ops
            if op.outcome is Outcome.OK
        ]
        chosen: dict[str, list[tuple[str, Op]]] = {}
        for poll, name, op in dice.sample(known, min(most, len(known))):
            chosen.setdefault(name, []).append((poll, op))
        wrong: list[str] = []

        async def one(voter: Voter, ops: Sequence[tuple[str, Op]]) -> None:
            line = Line(self.bases, voter, random.Random(f"{self.seed}:{voter.name}"))
            try:
                for poll, op in ops:
                    answer = None
                    for _ in range(40):
                        answer = await line.ask(poll, op)
                        if answer is not None and answer.get("code") != "UNAVAILABLE":
                            break
                        await asyncio.sleep(0.25)
                    if answer is None or not _first(op, answer):
                        wrong.append(f"{poll} {voter.name}: {op} again was answered with {answer}")
            finally:
                await line.close()

        await asyncio.gather(*(one(by_name[name], ops) for name, ops in chosen.items()))
        return wrong


def _first(op: Op, answer: dict[str, Any]) -> bool:
    if answer["type"] == "ERROR" or not answer["repeated"] or answer["seq"] != op.seq:
        return False
    if "optionIds" in answer:
        return sorted(answer["optionIds"]) == sorted(op.choices) and to_ms(answer["castAt"]) == op.cast_at
    return not op.choices


class Line:
    """One voter's socket, made anew where it ended, to any instance."""

    def __init__(self, bases: Sequence[str], voter: Voter, dice: random.Random) -> None:
        self._bases = bases
        self._voter = voter
        self._dice = dice
        self._socket: ClientConnection | None = None

    async def ask(self, poll: str, op: Op) -> dict[str, Any] | None:
        """The answer; none where the connection ended before, or nothing came in time."""
        message: dict[str, Any] = {"type": "RETRACT_VOTE", "pollId": poll, "id": op.id}
        if op.choices:
            message |= {"type": "VOTE", "optionIds": op.choices}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                socket = self._socket or await self._connect()
                await socket.send(_encode(message).decode())
                while True:
                    answer: dict[str, Any] = _decode(await socket.recv())
                    if answer.get("id") == op.id and answer["type"] in (
                        "VOTE_ACCEPTED",
                        "VOTE_RETRACTED",
                        "ERROR",
                    ):
                        return answer
        except (OSError, TimeoutError, WebSocketException, EOFError):
            await self.close()
            return None

    async def _connect(self) -> ClientConnection:
        base = self._dice.choice(self._bases)
        self._socket = await connect(
            base.replace("http", "ws", 1) + "/ws",
            additional_headers={"Authorization": f"Bearer {self._voter.token}"},
            compression=None,
            ping_interval=None,
            max_size=None,
            close_timeout=0.1,
            open_timeout=5,
            proxy=None,
        )
        return self._socket

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(OSError, TimeoutError, WebSocketException):
                socket.transport.abort()
                await socket.wait_closed()


class Watcher:
    """Follows polls as a screen does: joins, keeps the highest (epoch, seq), comes back where the socket ends.

    ``wrong``: tallies that went back on one socket, or one pair with two contents.
    """

    def __init__(self, base: str, polls: Sequence[Poll]) -> None:
        self._base = base
        self._polls = polls
        self.best: dict[str, tuple[tuple[int, int], dict[str, int]]] = {}
        self.wrong: list[str] = []
        self._seen: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Watcher":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                async with connect(
                    self._base.replace("http", "ws", 1) + "/ws",
                    compression=None,
                    ping_interval=None,
                    max_size=None,
                    close_timeout=0.1,
                    open_timeout=5,
                    proxy=None,
                ) as socket:
                    for poll in self._polls:
                        await socket.send(_encode({"type": "JOIN_POLL", "pollId": poll.id}).decode())
                    pairs: dict[str, tuple[int, int]] = {}
                    async for text in socket:
                        frame = _decode(text)
                        if frame["type"] == "ERROR":
                            break  # not there now: come again
                        if "tally" in frame:
                            self._take(frame, pairs)
            except (OSError, TimeoutError, WebSocketException):
                pass
            await asyncio.sleep(0.2)

    def _take(self, frame: dict[str, Any], pairs: dict[str, tuple[int, int]]) -> None:
        poll = frame["poll"]["id"] if "poll" in frame else frame["pollId"]
        tally = frame["tally"]
        pair = (tally["epoch"], tally["seq"])
        content = {"voters": tally["voters"], "counts": {k: n for k, n in tally["counts"].items() if n}}
        if pair < pairs.get(poll, pair):
            self.wrong.append(f"{poll}: {pair} after {pairs[poll]} on one socket")
        if self._seen.setdefault((poll, *pair), content) != content:
            self.wrong.append(f"{poll}: {pair} has two contents, {self._seen[poll, *pair]} and {content}")
        pairs[poll] = pair
        if pair >= self.best.get(poll, ((0, 0), {}))[0]:
            self.best[poll] = (pair, content["counts"])


def to_ms(text: str) -> int:
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


class People:
    """Accounts and polls, made over HTTP."""

    def __init__(self, base: str) -> None:
        self.http = httpx.AsyncClient(base_url=base, timeout=20, trust_env=False)

    async def __aenter__(self) -> "People":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def _post(self, path: str, body: Any, token: str | None = None) -> Any:
        """Asked again while it is refused for the moment."""
        for _ in range(60):
            with suppress(httpx.TransportError):
                answer = await self.http.post(
                    path, json=body, headers={"Authorization": f"Bearer {token}"} if token else {}
                )
                if answer.status_code < 300:
                    return answer.json()
                if answer.status_code not in (429, 503):
                    raise RuntimeError(f"{path}: {answer.text}")
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{path}: no answer")

    async def voters(self, count: int) -> list[Voter]:
        made = []
        for _ in range(count):
            session = await self._post("/auth/guest", {})
            made.append(Voter(session["user"]["id"], session["accessToken"]))
        return made

    async def owner(self) -> str:
        """A token."""
        name = f"{random.SystemRandom().getrandbits(64):x}@example.org"
        session = await self._post("/auth/register", {"email": name, "password": "not a secret"})
        return str(session["accessToken"])

    async def polls(self, owner: str, count: int, **fields: Any) -> list[Poll]:
        """Every fourth takes no changes. ``fields`` of the contract beside."""
        made = []
        for number in range(count):
            body = {
                "question": f"Question {number}?",
                "options": ["A", "B", "C", "D"],
                "maxChoices": 2,
                "guests": True,
                "allowChange": number % 4 != 3,
            } | fields
            poll = (await self._post("/polls", body, owner))["poll"]
            made.append(Poll(poll["id"], [o["id"] for o in poll["options"]], poll["allowChange"]))
        return made
