"""Polls of many partitions, and people who vote in all of them at once, each ballot until it is acknowledged."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.adapters.redis.connection.keys import Keys
from tests.instances.pair import Pair, pair
from tools.harness.http import Answer, Api, Person
from tools.harness.process import Process, run
from tools.harness.shapes import option_ids
from tools.servers.cluster import RedisCluster

KEYS = Keys(16)
PAUSE_SECONDS = 0.1


@dataclass
class Site:
    """``worker`` runs, and the pair votes."""

    cluster: RedisCluster
    settings: dict[str, str]
    pair: Pair
    worker: Process

    async def polls(self, owner: Person, partitions: list[int] | None = None, each: int = 1) -> list["Voted"]:
        """``each`` new polls in every partition (of ``partitions``), by turns made through one instance and the other."""
        wanted = dict.fromkeys(range(16) if partitions is None else partitions, each)
        made = []
        while any(wanted.values()):
            poll = await self.pair.apis[len(made) % 2].poll(owner, guests=True)
            partition = KEYS.partition(poll["id"])
            if wanted.get(partition):
                wanted[partition] -= 1
                made.append(Voted(poll, partition))
        return made

    async def vote(self, polls: list["Voted"], voters: list[Person]) -> None:
        """Everybody in every poll: one after another in each, all polls at once, over both instances in turn."""
        async with asyncio.TaskGroup() as group:
            for poll in polls:
                group.create_task(poll.vote(self.pair, voters))

    def master_partitions(self, number: int) -> set[int]:
        """Partitions that a master serves."""
        return {p for p in range(16) if self.cluster.serving(p) is self.cluster.masters[number]}


@dataclass
class Voted:
    """A poll and the first answer to each of its ballots. ``unknown``: how often a ballot was answered ``UNAVAILABLE``."""

    poll: dict[str, Any]
    partition: int
    acked: dict[int, Answer] = field(default_factory=dict)
    unknown: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What the acknowledged ballots come to."""
        chosen = Counter(self._choice(number) for number in self.acked)
        return {option: chosen[option] for option in option_ids(self.poll)}

    async def vote(self, pair: Pair, voters: list[Person]) -> None:
        for number, voter in enumerate(voters):
            if number not in self.acked:
                self.acked[number] = await self.ballot(pair.apis[number % 2], number, voter)

    async def ballot(self, api: Api, number: int, voter: Person) -> Answer:
        """Sent until its outcome is known, with the same id."""
        body = {"optionId": self._choice(number), "id": f"b{number}"}
        async with asyncio.timeout(60):
            while True:
                path = f"/polls/{self.poll['id']}/votes"
                response = await api.post(path, body, voter, allow_5xx=True)
                if response.status_code < 400:
                    return Answer(None, response.json())
                assert response.json()["code"] == "UNAVAILABLE", response.text
                self.unknown += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def again(self, pair: Pair, voters: list[Person]) -> list[Answer]:
        """Every ballot once more, through the other instance."""
        return [
            await self.ballot(pair.apis[(number + 1) % 2], number, voter)
            for number, voter in enumerate(voters)
        ]

    def _choice(self, number: int) -> str:
        options = option_ids(self.poll)
        return options[number % len(options)]


@contextlib.asynccontextmanager
async def opened(folder: Path, database: str, cluster: RedisCluster) -> AsyncIterator[Site]:
    settings = {
        "DATABASE_URL": database,
        "REDIS_URL": cluster.url,
        "JWT_SECRET": "a secret of the tests, and nothing else",
    }
    migrated = await asyncio.to_thread(run, ["migrate"], settings)
    assert migrated.returncode == 0, migrated.stdout
    worker = Process(["worker"], settings, folder / "worker.log")
    try:
        async with pair(folder, settings) as both:
            yield Site(cluster, settings, both, worker)
            assert worker.exit_code is None, f"the worker ended\n{worker.tail()}"
    except BaseException:
        worker.kill()
        raise
    assert await asyncio.to_thread(worker.terminate) == 0, worker.tail()
    assert "Traceback" not in worker.tail(100_000), worker.tail()
    recounted = await asyncio.to_thread(run, ["recount", "--all"], settings)
    assert recounted.returncode == 0, recounted.stdout
