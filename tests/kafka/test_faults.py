"""Kafka killed or away, the relay killed in the middle, Redis emptied, SQL put back: nothing lost, copies recognisable."""

import asyncio
import signal
from pathlib import Path

import pytest

from app.adapters.kafka import KafkaTopic
from app.domain.errors import PollroomError
from app.repositories import ballots as model
from app.repositories.relay_offsets import KAFKA, LOST, READS
from app.services.vote_log.kafka_relay import lag
from app.workers.kafka_relay import AT_ONCE
from tests.kafka.relayed import (
    Relayed,
    caught_up,
    distinct,
    equal,
    in_order,
    logged,
    positions,
    relaying,
    trimmed,
    vote,
)
from tests.recovery.backup import backup
from tests.recovery.site import until
from tools.harness.process import Process
from tools.harness.wait import eventually
from tools.servers import Kafka, RedisServer

pytestmark = pytest.mark.anyio


async def test_a_broker_that_is_killed_and_restarted_loses_nothing(
    tmp_path: Path, own_redis: RedisServer, broker: Kafka, topic: str
) -> None:
    site = Relayed(tmp_path, own_redis, None, brokers=broker.url, topic=topic)
    async with site.open(worker=True) as node:
        polls = [await node.poll() for _ in range(3)]
        async with relaying(node) as relay:
            await caught_up(node)
            given = await vote(node, polls, range(50))
            for turn in (2, 3):
                voting = asyncio.create_task(vote(node, polls, range(300), turn))
                await eventually(site.messages, bool, 20, "messages")
                broker.kill()
                given += await voting
                await node.drain()
                given += await vote(node, polls, range(50), turn + 2)
                await asyncio.to_thread(broker.start)
                await caught_up(node, 60)
            await eventually(lambda: _error(relay), lambda error: error is None, 10)
            await trimmed(node)
        messages = await equal(site, node, polls)
        in_order(messages)
        assert len(distinct(messages)) == len(given)


async def _error(relay) -> str | None:  # type: ignore[no-untyped-def]
    error: str | None = relay.error
    return error


async def test_a_relay_ends_when_told_so_though_kafka_hangs(
    tmp_path: Path, own_redis: RedisServer, mariadb_url: str, broker: Kafka, topic: str
) -> None:
    site = Relayed(tmp_path, own_redis, mariadb_url, brokers=broker.url, topic=topic)
    async with site.open(worker=True) as node:
        polls = [await node.poll()]
        process = Process(["relay"], site.environ(), site.folder / "relay.log")
        try:
            await eventually(lambda: positions(node), bool, 20, "a relay at work")
            await vote(node, polls, range(10))
            await caught_up(node)
            broker.process.send_signal(signal.SIGSTOP)
            await vote(node, polls, range(10), 2)
            await node.drain()
            assert await asyncio.to_thread(process.terminate, 12) == 0
        finally:
            process.kill()
            broker.process.send_signal(signal.SIGCONT)
        assert "Traceback" not in process.tail()
        async with relaying(node):
            await caught_up(node)
        in_order(await equal(site, node, polls))


async def test_a_relay_killed_between_sending_and_its_offset_sends_again(on_mariadb: Relayed) -> None:
    """Its row is locked by us: it cannot note how far it came."""
    site = on_mariadb
    async with site.open(worker=True) as node:
        # In two partitions at most: so many are sent at a time, and a third would wait until the lock is given up.
        polls = [await node.poll() for _ in range(AT_ONCE)]
        async with relaying(node):
            await caught_up(node)
            given = await vote(node, polls, range(20))
            await caught_up(node)
        before, database = await positions(node), node.stores.database
        process = Process(["relay"], site.environ(), site.folder / "relay.log")
        try:

            async def leased() -> int:
                return sum(o.lease_owner is not None for o in await model.offsets(database, KAFKA))

            await eventually(leased, lambda n: n == 3, 20, "a relay at work")
            async with database.transaction() as q:
                for partition in range(3):
                    await model.lock_offset(q, KAFKA, partition)
                given += await vote(node, polls, range(20), 2)
                await eventually(site.messages, lambda found: len(found) == 80, 20, "messages")
                process.kill_leader()
        finally:
            process.kill()
        assert await positions(node) == before
        given += await vote(node, polls, range(20, 30))
        async with relaying(node):  # waits until the leases of the dead one have run out
            await caught_up(node, 40)
        messages = await equal(site, node, polls)
        in_order(messages)
        assert len(messages) == len(given) + 40
        assert len(distinct(messages)) == len(given)


async def test_kafka_away_for_long_costs_the_log_no_more_than_the_limit(
    tmp_path: Path, own_redis: RedisServer, broker: Kafka, topic: str
) -> None:
    site = Relayed(tmp_path, own_redis, None, brokers=broker.url, topic=topic)
    async with site.open(worker=True, KAFKA_LAG_LIMIT="100") as node:
        polls = [await node.poll() for _ in range(6)]
        async with relaying(node) as relay:
            await caught_up(node)
            await vote(node, polls, range(20))
            await caught_up(node)
            broker.kill()
            for turn in (2, 3, 4):
                await vote(node, polls[:5], range(100), turn)
            await node.drain()
            await eventually(
                lambda: positions(node),
                lambda found: any(p.gap == LOST for p in found),
                20,
                "a relay without its place",
            )
            assert "have a gap" in await lag(node.stores.database)
            await eventually(
                lambda: _error(relay), lambda error: error is not None, 20, "an error that is told"
            )
            # One vote a poll, so that each partition is trimmed once more.
            await vote(node, polls, range(100, 101), 2)
            await node.drain()
            kept = sum(p.gap == READS for p in await positions(node))
            await eventually(lambda: logged(node), lambda n: n <= 101 * kept, 10, "a trimmed log")
            await asyncio.to_thread(broker.start)
            await caught_up(node, 60)
            await vote(node, polls, range(30), 5)
            await caught_up(node)
            await trimmed(node)
        messages = await equal(site, node, polls)
        assert any(message["resent"] for message in messages)
        # Of the poll that nobody voted in meanwhile only what is new came again.
        assert not [m for m in messages if m["poll"] == polls[5].id and m["resent"] and m["seq"] < 20]


async def test_a_new_generation_is_a_gap_that_is_filled(site: Relayed) -> None:
    async with site.open(worker=True) as node:
        polls = [await node.poll() for _ in range(4)]
        async with relaying(node):
            await vote(node, polls, range(20))
            await caught_up(node)
        await vote(node, polls, range(10, 30), 2)
        await node.drain()
        await node.redis("FLUSHALL")

        async def back() -> bool:
            try:
                return all([(await node.state(poll)).epoch == 2 for poll in polls])
            except PollroomError:
                return False

        await until(back, "a new generation", 30)
        await vote(node, polls, range(20, 40), 3)
        async with relaying(node):
            await caught_up(node)
            await vote(node, polls, range(50), 4)
            await caught_up(node)
        messages = await equal(site, node, polls)
        in_order(messages)
        assert {message["epoch"] for message in messages} == {1, 2}


@pytest.mark.parametrize("relay_runs", [True, False])
async def test_sql_put_back_to_a_backup(site: Relayed, relay_runs: bool) -> None:
    """The log was trimmed beyond the place that the backup knows: what lies between comes from SQL, made whole."""
    async with site.open() as node:
        polls = [await node.poll() for _ in range(4)]
        async with relaying(node):
            await vote(node, polls, range(20))
            await caught_up(node)
            put_back = await backup(site)
            await vote(node, polls, range(20, 40))
            await caught_up(node)
            await trimmed(node)
            if relay_runs:
                await put_back()
                await node.drain()
                await vote(node, polls, range(40, 50))
                await caught_up(node)
        if not relay_runs:
            await put_back()
            await vote(node, polls, range(40, 50))
            async with relaying(node):
                await caught_up(node)
        await equal(site, node, polls)


async def test_a_relay_that_ends_while_sending_anew_goes_on(small: Relayed) -> None:
    topic = KafkaTopic([small.brokers], small.topic, small.partitions)
    await topic.ready()
    await topic.close()
    async with small.open(worker=True) as node:
        polls = [await node.poll() for _ in range(8)]
        given = await vote(node, polls, range(60))
        await node.drain()
        for rest in (400, 200):

            async def sent() -> int:
                return len(given) - len(distinct(await small.messages()))

            async with relaying(node):  # cancelled wherever it is
                await eventually(sent, lambda left, rest=rest: left <= rest, 20)
        async with relaying(node):
            await caught_up(node)
            await vote(node, polls, range(60), 2)
            await caught_up(node)
        messages = await equal(small, node, polls)
        assert len([m for m in distinct(messages) if m["n"] == 1]) == len(given)
