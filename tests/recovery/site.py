"""A Redis and a database of a test's own, and the app's stores opened on them as often as it wants, in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.bootstrap.resources import Resources, migrate, open_resources
from app.bootstrap.settings import Settings
from app.domain.ballots import Ballot, PollState, Receipt
from app.domain.poll_kinds import KINDS, VOTERS
from app.domain.poll_rules import compose
from app.domain.polls import NewPoll, Rules
from app.repositories import ballots as votes
from app.repositories import polls
from app.services.vote_log.recorder import READER
from app.workers.vote_worker import VoteWorker
from tests.ledger.world import Answer, answers
from tools.servers import RedisServer

"""What a ballot was answered with: a receipt, or the code of the refusal."""


@dataclass
class Site:
    """``partitions``: 1, so that a test knows where its polls are. ``silence_seconds``: see ``Ownership``; 10 by default."""

    folder: Path
    redis: RedisServer
    database_url: str | None
    partitions: int = 1
    silence_seconds: float = field(default=0.2, kw_only=True)

    def settings(self, **more: str) -> Settings:
        environ = {
            "DATA_DIR": str(self.folder / "data"),
            "REDIS_URL": self.redis.url,
            "PARTITIONS": str(self.partitions),
            "JWT_SECRET": "a secret of the tests, and nothing else",
            "LOG_LEVEL": "warning",
        }
        environ["DATABASE_URL"] = self.database_url or f"sqlite+aiosqlite:///{self.sqlite_file}"
        return Settings.from_env(environ | more)

    @property
    def sqlite_file(self) -> Path:
        assert self.database_url is None
        return self.folder / "data" / "pollroom.db"

    @asynccontextmanager
    async def open(self, *, worker: bool = False, **more: str) -> AsyncIterator["Node"]:
        """``worker``: one runs beside."""
        settings = self.settings(**more)
        await migrate(settings)
        stores_open = open_resources(settings, heals=True, silence_seconds=self.silence_seconds)
        async with stores_open as stores, AsyncExitStack() as stack:
            node = Node(stores)
            if worker:
                await stack.enter_async_context(running(stores.worker()))
            yield node


class Node:
    """One process's stores, and what tests do with them."""

    def __init__(self, stores: Resources) -> None:
        self.stores = stores

    async def poll(self, **fields: Any) -> Rules:
        """Made as ``POST /polls`` does it: options A, B, C, changes allowed, unless ``fields`` say otherwise."""
        new = NewPoll(**({"question": "?", "options": ["A", "B", "C"], "allow_change": True} | fields))
        rules = compose(new, "owner", self.stores.clock.now())
        async with self.stores.database.transaction() as queries:
            await polls.insert(queries, rules, None)
        await self.stores.editor.edit(rules.id, None)
        return rules

    async def cast(self, *ballots: Ballot) -> list[Answer]:
        """Handed over together; the answers in their order. Fails after 15 s."""
        return await answers([self.stores.ledger.cast(one) for one in ballots])

    async def vote(self, poll: Rules, voter: str, id: str, option: int) -> Answer:
        return (await self.cast(ballot(poll, voter, id, option)))[0]

    async def retract(self, poll: Rules, voter: str, id: str) -> Answer:
        return (await self.cast(Ballot(poll.id, voter, False, id, True, ())))[0]

    async def state(self, poll: Rules) -> PollState:
        return (await self.stores.ledger.read(poll.id))[0]

    async def tally(self, poll: Rules) -> tuple[int, dict[str, int]]:
        """Voters and the counts above zero, as the ledger has them."""
        state = await self.state(poll)
        return state.voters, {name: n for name, n in state.counts.items() if n}

    async def in_sql(self, poll: Rules) -> tuple[int, dict[str, int]]:
        """The same of the rows."""
        counts = KINDS[poll.kind].totals(await votes.chosen(self.stores.database, poll.id))
        return counts.pop(VOTERS), {name: n for name, n in counts.items() if n}

    async def drain(self) -> None:
        await self.stores.worker().drain()

    async def offset(self, partition: int = 0) -> votes.Offset:
        found = await votes.offset(self.stores.database, READER, partition)
        assert found is not None
        return found

    async def held(self, poll: Rules) -> bool:
        """Whether Redis has the poll; does not touch it."""
        keys = self.stores.keys.poll(poll.id)
        return bool(await self.stores.client.exists(keys[0]))

    async def redis(self, *command: str | int) -> Any:
        return await self.stores.client.execute_command(*command)  # type: ignore[no-untyped-call]


def ballot(poll: Rules, voter: str, id: str, *options: int) -> Ballot:
    """``options`` by their position from 0."""
    return Ballot(poll.id, voter, False, id, False, tuple(poll.options[n].id for n in options))


def received(answer: Answer) -> Receipt:
    assert isinstance(answer, Receipt), answer
    return answer


def repeats(again: Answer, first: Answer) -> None:
    """The first answer again, and said to be one."""
    again, first = received(again), received(first)
    assert again.repeated
    assert (again.id, sorted(again.choices), again.seq, again.cast_at) == (
        first.id,
        sorted(first.choices),
        first.seq,
        first.cast_at,
    )


@asynccontextmanager
async def running(worker: VoteWorker) -> AsyncIterator[VoteWorker]:
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(probe: Callable[[], Any], what: str, timeout: float = 10) -> Any:
    """Wait for an awaited probe that gives something true; that."""
    async with asyncio.timeout(timeout):
        while not (found := await probe()):
            await asyncio.sleep(0.02)
    return found
