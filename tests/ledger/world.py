"""A ledger on a real Redis. SQL's part is played by a dict of rules."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.clock import RedisClock
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.ledger.fences import RedisFences
from app.adapters.redis.ledger.ledger import RedisLedger
from app.domain.ballots import Ballot, Lease, PollState, Receipt
from app.domain.errors import PollroomError
from app.domain.polls import Option, Rules
from app.domain.values import new_id
from app.ports.ledger import TryAgain
from app.services.polls.poll_loader import as_it_stands

GENERATION = 1
OWNER = "owner"
OPTIONS = ("o1", "o2", "o3", "o4")

Answer = Receipt | str
"""What a ballot was answered with: a receipt, or the code of the refusal."""


def some_rules(poll_id: str, **changes: Any) -> Rules:
    """An open poll with four options, changes allowed, unless ``changes`` say otherwise. ``option_ids``: of the options."""
    option_ids = changes.pop("option_ids", OPTIONS)
    rules = Rules(
        id=poll_id,
        code="CODE42",
        owner_id=OWNER,
        version=1,
        seq=0,
        question="?",
        description=None,
        options=options(option_ids),
        min_choices=1,
        max_choices=len(option_ids),
        results_visibility="always",
        allow_change=True,
        guests=False,
        draft=False,
        opens_at=None,
        closes_at=None,
        closed_at=None,
        deleted_at=None,
        created_at=0,
    )
    return replace(rules, **changes)


def options(ids: Sequence[str]) -> tuple[Option, ...]:
    return tuple(Option(id, f"Label of {id}") for id in ids)


def ballot(
    poll_id: str,
    voter: str,
    id: str,
    *choices: str,
    retract: bool = False,
    guest: bool | Literal["proven"] = False,
) -> Ballot:
    return Ballot(poll_id, voter, guest, id, retract, choices)


class World:
    """``direct``: a client of Redis that passes no proxy. ``loads``: polls that the ledger asked for.

    ``verifying``: what the ledger has for a partition whose fence does not hold; a test may replace it.
    """

    def __init__(self, url: str, direct_url: str, *, partitions: int, limit: int, timeout: float) -> None:
        self.client = connect(url, timeout=timeout)
        self.direct = connect(direct_url)
        self.keys = Keys(partitions)
        self.clock = RedisClock()
        self.ledger = RedisLedger(self.client, self.keys, self.clock, queued_ballots=limit)
        self.fences = RedisFences(self.direct, self.keys)
        self.rules: dict[str, Rules] = {}
        self.loads: list[str] = []
        self.verifying: Callable[[int], Awaitable[None]] = self.verify
        self.running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        for partition in range(self.keys.partitions):
            await self.verify(partition)
        asked = time.monotonic()
        self.clock.heard(await self.time(), asked)
        self.start()

    def start(self) -> None:
        self.running = asyncio.ensure_future(self.ledger.run(self._load, self._load, self._verify))

    async def ended(self) -> None:
        """Nothing is delivered any more."""
        if self.running is not None:
            self.running.cancel()
            with suppress(asyncio.CancelledError):
                await self.running

    async def close(self) -> None:
        await self.ended()
        await self.client.aclose()
        await self.direct.aclose()

    async def _verify(self, partition: int) -> None:
        await self.verifying(partition)

    async def _load(self, poll_id: str) -> None:
        """Install a poll as the dict has it."""
        self.loads.append(poll_id)
        rules = self.rules.get(poll_id)
        if rules is None:
            raise PollroomError("NOT_FOUND")
        await self.install(await self.lease(poll_id), rules)

    async def verify(self, partition: int) -> None:
        state = await self.fences.inspect(partition)
        assert await self.fences.write(partition, state.run, GENERATION, "tests")

    async def time(self) -> int:
        """Milliseconds by Redis ``TIME``."""
        seconds, micros = await self.direct.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def until(self, moment: int) -> None:
        """Returns when Redis ``TIME`` has reached ``moment``."""
        while (left := moment - await self.time()) > 0:
            await asyncio.sleep(left / 1000)

    async def poll(self, poll_id: str | None = None, **changes: Any) -> str:
        """The id of a new poll, installed. ``changes``: see ``some_rules``."""
        poll_id = poll_id or new_id()
        self.rules[poll_id] = some_rules(poll_id, **changes)
        await self.install(await self.lease(poll_id), self.rules[poll_id])
        return poll_id

    async def lease(self, poll_id: str) -> Lease:
        """Tries again while another one holds."""
        async with asyncio.timeout(10):
            while True:
                with suppress(TryAgain):
                    return await self.ledger.lease(poll_id)
                await asyncio.sleep(0.005)

    async def install(self, lease: Lease, rules: Rules, *, times: bool = False) -> tuple[PollState, bool]:
        return await self.ledger.install_rules(lease, rules, new_times=times)

    def revise(self, lease: Lease, **changes: Any) -> Rules:
        """Commit an edit to the dict, as between hold and install; the rules to install."""
        assert lease.state is not None
        old = as_it_stands(self.rules[lease.poll_id], lease.state)
        new = self.rules[lease.poll_id] = replace(old, version=old.version + 1, **changes)
        return new

    async def edit(self, poll_id: str, **changes: Any) -> tuple[PollState, bool]:
        lease = await self.lease(poll_id)
        new = self.revise(lease, **changes)
        return await self.install(lease, new, times=bool({"opens_at", "closes_at"} & set(changes)))

    async def cast(self, *ballots: Ballot) -> list[Answer]:
        """Handed over together; the answers in their order."""
        return await answers([self.ledger.cast(one) for one in ballots])

    async def log(self) -> list[tuple[str, list[Any]]]:
        """All entries of all partitions: id, decoded payload."""
        entries: list[tuple[str, list[Any]]] = []
        for partition in range(self.keys.partitions):
            found: Any = await self.direct.xrange(self.keys.log(partition, GENERATION))
            for id, fields in found:
                entries.append((id.decode(), msgspec.msgpack.decode(fields[b"e"])))
        return entries

    async def accepted(self, poll_id: str) -> list[str]:
        """Ids of the ballots in the poll's log, in its order."""
        return [entry[4] for _, entry in await self.log() if entry[:2] == ["b", poll_id]]


async def answers(futures: Sequence["asyncio.Future[Receipt]"]) -> list[Answer]:
    """Fails after 15 s: nobody may be left without an answer."""
    async with asyncio.timeout(15):
        done = await asyncio.gather(*futures, return_exceptions=True)
    result: list[Answer] = []
    for one in done:
        if isinstance(one, PollroomError):
            result.append(one.code)
        elif isinstance(one, BaseException):
            raise one
        else:
            result.append(one)
    return result


def receipts(answered: Sequence[Answer]) -> list[Receipt]:
    """All of them are receipts."""
    refused = [one for one in answered if isinstance(one, str)]
    assert not refused, refused
    return [one for one in answered if isinstance(one, Receipt)]


@asynccontextmanager
async def world(
    url: str, *, through: str | None = None, partitions: int = 1, limit: int = 10_000, timeout: float = 1.0
) -> AsyncIterator[World]:
    """``through``: the URL by which the ledger reaches Redis. ``timeout``: seconds until it takes Redis for silent."""
    made = World(through or url, url, partitions=partitions, limit=limit, timeout=timeout)
    try:
        await made.open()
        yield made
    finally:
        await made.close()
