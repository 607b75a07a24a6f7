"""A site with a relay, and its topic read as anybody would."""

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.bootstrap.settings import Settings
from app.domain.ballots import Ballot, Receipt
from app.domain.polls import Rules
from app.repositories import relay_offsets as readers
from app.repositories.relay_offsets import KAFKA, SQL, Position
from app.workers.kafka_relay import Relay
from tests.recovery.site import Node, Site, ballot, received
from tools.harness.wait import eventually

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "kafka_tally.py"
_spec = importlib.util.spec_from_file_location("kafka_tally", EXAMPLE)
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
Tallies = _module.Tallies

Message = dict[str, Any]


@dataclass
class Relayed(Site):
    """``partitions``: a few, so that they differ."""

    partitions: int = 3
    brokers: str = ""
    topic: str = ""

    def settings(self, **more: str) -> Settings:
        return super().settings(**{"KAFKA_BROKERS": self.brokers, "KAFKA_TOPIC": self.topic} | more)

    def environ(self, **more: str) -> dict[str, str]:
        """The same for a process of its own."""
        assert self.database_url is not None
        return {
            "DATA_DIR": str(self.folder / "data"),
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": self.database_url,
            "JWT_SECRET": "a secret of the tests, and nothing else",
            "KAFKA_BROKERS": self.brokers,
            "KAFKA_TOPIC": self.topic,
        } | more

    async def messages(self) -> list[Message]:
        """All that is in the topic now, each partition in its order."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.brokers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            parts = [TopicPartition(self.topic, p) for p in range(self.partitions)]
            consumer.assign(parts)
            ends = await consumer.end_offsets(parts)
            found: list[Message] = []
            for part in parts:
                while await consumer.position(part) < ends[part]:
                    for record in (await consumer.getmany(part, timeout_ms=1000)).get(part, []):
                        message = json.loads(record.value)
                        assert record.key.decode() == message["poll"]
                        found.append(message)
            return found
        finally:
            await consumer.stop()


@asynccontextmanager
async def relaying(node: Node) -> AsyncIterator[Relay]:
    relay = node.stores.relay()
    assert relay is not None
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.wait([task])


async def positions(node: Node, reader: str = KAFKA) -> list[Position]:
    return [p for p in await readers.positions(node.stores.database) if p.reader == reader]


async def caught_up(node: Node, timeout: float = 30) -> None:
    """Until the relay is where SQL is, and SQL has the whole log."""
    await node.drain()

    async def places() -> list[list[tuple[int, str, int]]]:
        relay, sql = await positions(node), await positions(node, SQL)
        return [[(p.generation, p.last_id, p.gap) for p in each] for each in (relay, sql)]

    await eventually(places, lambda found: found[0] == found[1], timeout, "a relay that has caught up")


async def logged(node: Node, generation: int = 1) -> int:
    """Entries in the logs of all partitions."""
    keys = node.stores.keys
    return sum([await node.redis("XLEN", keys.log(p, generation)) for p in range(keys.partitions)])


async def trimmed(node: Node) -> None:
    """While a relay runs: it trims after it has noted its place."""
    await eventually(lambda: logged(node), lambda entries: entries == 0, 10, "a trimmed log")


async def vote(node: Node, polls: list[Rules], voters: range, turn: int = 1) -> list[Receipt]:
    """A ballot of each voter in each poll; those of later turns are changes, every fifth a retraction."""
    given: list[Ballot] = []
    for n in voters:
        for poll in polls:
            if turn > 1 and n % 5 == 0:
                given.append(Ballot(poll.id, f"v{n}", False, f"v{n}-{turn}", True, ()))
            else:
                given.append(ballot(poll, f"v{n}", f"v{n}-{turn}", (n + turn) % 3))
    receipts: list[Receipt] = []
    for start in range(0, len(given), 500):
        receipts += [received(answer) for answer in await node.cast(*given[start : start + 500])]
    return receipts


def identity(message: Message) -> tuple[str, str, int, int]:
    return message["poll"], message["voter"], message["epoch"], message["seq"]


def distinct(messages: list[Message]) -> list[Message]:
    """The first of each: a copy says the same, but for being sent anew."""
    first: dict[tuple[str, str, int, int], Message] = {}
    for message in messages:
        known = first.setdefault(identity(message), message)
        assert known | {"resent": 0} == message | {"resent": 0}
    return list(first.values())


def in_order(messages: list[Message]) -> None:
    """Of each poll, once copies are left out, and what was sent anew from SQL."""
    last: dict[str, tuple[int, int]] = {}
    for message in distinct(messages):
        if not message["resent"]:
            at = (message["epoch"], message["seq"])
            assert last.get(message["poll"], (0, 0)) <= at, message  # taking back nothing takes no seq
            last[message["poll"]] = at


async def equal(site: Relayed, node: Node, polls: list[Rules]) -> list[Message]:
    """Who reads the topic alone has our tallies; its messages."""
    messages = await site.messages()
    tallies = Tallies()
    for message in messages:
        tallies.take(message)
    for poll in polls:
        there = tallies.of(poll.id)
        assert (there["voters"], dict(there["counts"])) == await node.tally(poll) == await node.in_sql(poll)
    return messages
