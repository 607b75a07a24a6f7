"""The worker between a real Redis and each database: leases, outages, trimming, draining, the sweep."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.adapters.redis.connection.client import connect
from app.adapters.redis.connection.clock import RedisClock
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.ledger.fences import RedisFences
from app.adapters.redis.ledger.poll_store import RedisPollStore
from app.adapters.redis.ledger.vote_log import RedisVoteLog
from app.adapters.sql.database import SqlDatabase
from app.domain.ballots import LogEntry, Undecodable
from app.domain.errors import PollroomError
from app.domain.log_position import NOTHING, LogPosition
from app.repositories import ballots as model
from app.services.recovery.sql_rebuild import Restorer
from app.services.vote_log.recorder import Recorder
from app.workers import leases, vote_worker
from app.workers.vote_worker import VoteWorker, batches
from tests.database.conftest import PARTITIONS
from tests.database.test_models import add, rules
from tools.harness.wait import eventually
from tools.servers import mariadb, redis_server

KEYS = Keys(PARTITIONS)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url, timeout=5) as client:
        yield client


async def clock_of(redis: Redis) -> RedisClock:
    clock, asked = RedisClock(), time.monotonic()
    seconds, micro = await redis.time()
    clock.heard(seconds * 1000 + micro // 1000, asked)
    return clock


async def worker_on(database: SqlDatabase, redis: Redis, owner: str = "a") -> VoteWorker:
    restorer = Restorer(database, RedisFences(redis, KEYS), RedisPollStore(redis, KEYS))
    return VoteWorker(
        database,
        RedisVoteLog(redis, KEYS),
        Recorder(database),
        await clock_of(redis),
        PARTITIONS,
        owner,
        restorer.restore,
    )


@asynccontextmanager
async def running(worker: VoteWorker) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def vote(redis: Redis, partition: int, *voters: str, n: int = 1, generation: int = 1) -> None:
    """The entries are packed by Redis itself, as the ledger's script does it."""
    pipe = redis.pipeline(transaction=False)
    for voter in voters:
        pipe.eval(
            "return redis.call('XADD', KEYS[1], '*', 'e', cmsgpack.pack({'b', ARGV[1], ARGV[2], tonumber(ARGV[3]),"
            " 'id', false, {'o1'}, 7, 1700000000000, true, {}}))",
            1,
            KEYS.log(partition, generation),
            f"p{partition}",
            voter,
            str(n),
        )
    await pipe.execute()


async def stored(database: SqlDatabase) -> set[tuple[int, str]]:
    found: set[tuple[int, str]] = set()
    for p in range(PARTITIONS):
        found |= {(p, row.voter_id) for row in await model.ballots_after(database, f"p{p}", "", 10_000)}
    return found


async def until_stored(database: SqlDatabase, count: int, timeout: float = 15) -> None:
    await eventually(lambda: stored(database), lambda found: len(found) == count, timeout, "ballots in SQL")


async def is_trimmed(redis: Redis) -> bool:
    return not any([await redis.xlen(KEYS.log(p, 1)) for p in range(PARTITIONS)])


async def now(get: Callable[[], Any]) -> Any:
    return get()


async def test_votes_are_stored_and_then_trimmed(database: SqlDatabase, redis: Redis) -> None:
    worker = await worker_on(database, redis)
    await vote(redis, 0, *(f"v{n}" for n in range(2500)))
    async with running(worker):
        await until_stored(database, 2500)
        await vote(redis, 3, "late")
        await until_stored(database, 2501)
        await eventually(lambda: is_trimmed(redis), bool, what="trimmed logs")
        assert worker.leased == set(range(PARTITIONS))
        await eventually(lambda: now(lambda: worker.pending), lambda pending: pending == 0)
        assert worker.error is None
    assert [o.lease_owner for o in await model.offsets(database, "sql")] == [None] * PARTITIONS


async def test_nothing_is_trimmed_before_it_is_stored(database: SqlDatabase, redis: Redis) -> None:
    worker = await worker_on(database, redis)
    async with running(worker), database.transaction() as q:
        for partition in range(PARTITIONS):
            await model.lock_offset(q, "sql", partition)
        await vote(redis, 1, "v")
        await asyncio.sleep(0.3)
        assert await redis.xlen(KEYS.log(1, 1)) == 1
    await worker.drain()
    assert await stored(database) == {(1, "v")}
    assert await is_trimmed(redis)


async def test_workers_share_the_partitions_and_take_over_from_a_dead_one(
    database: SqlDatabase, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vote_worker, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(leases, "LEASE_MS", 1000)
    first, second = await worker_on(database, redis, "a"), await worker_on(database, redis, "b")

    async def shares() -> tuple[int, int]:
        return len(first.leased), len(second.leased)

    async with running(second):
        async with running(first):
            await eventually(shares, lambda found: found == (2, 2), what="a fair share")
            assert not first.leased & second.leased
            for partition in range(PARTITIONS):
                await vote(redis, partition, "v")
            await until_stored(database, PARTITIONS)
        await eventually(shares, lambda found: found[1] == PARTITIONS, what="what was given back")
        # One that died gave nothing back: its leases run out.
        clock = await clock_of(redis)
        for partition in (0, 1):
            await model.take_lease_from(database, "sql", partition, "b", "dead", clock.now() + 2500)
        await eventually(shares, lambda found: found[1] == 2, what="leases lost")
        await eventually(shares, lambda found: found[1] == PARTITIONS, timeout=10, what="leases that ran out")


async def test_two_workers_on_one_partition_store_everything_once(
    database: SqlDatabase, redis: Redis
) -> None:
    """Leases are a hint: without them the offset's compare-and-set alone keeps it right."""
    workers = [await worker_on(database, redis, name) for name in "abc"]
    await vote(redis, 2, *(f"v{n}" for n in range(300)))
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert len(await stored(database)) == 300
    assert await is_trimmed(redis)


async def test_a_new_generation_is_read_from_its_own_log(database: SqlDatabase, redis: Redis) -> None:
    await vote(redis, 0, "old")
    worker = await worker_on(database, redis)
    await worker.drain()
    await model.fence(database, "sql", 0, 2, NOTHING, None)
    await vote(redis, 0, "new", generation=2)
    async with running(worker):
        await until_stored(database, 2)
    rows = await model.ballots_after(database, "p0", "", 10)
    assert [(row.voter_id, row.epoch) for row in rows] == [("new", 2), ("old", 1)]


async def test_poison_does_not_stop_the_worker(database: SqlDatabase, redis: Redis) -> None:
    await vote(redis, 0, "before")
    await redis.xadd(KEYS.log(0, 1), {"e": b"\xc1"})
    await vote(redis, 0, "after")
    worker = await worker_on(database, redis)
    async with running(worker):
        await until_stored(database, 2)
        await eventually(lambda: is_trimmed(redis), bool)
    assert await model.dead_letters_by_poll(database) == {"": 1}


async def test_a_partition_that_fails_holds_up_no_other(
    database: SqlDatabase, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are locked by somebody; told in ``error`` and ``pending`` until it works again."""
    if database.queries["offset.lock"].text.endswith("FOR UPDATE"):
        monkeypatch.setattr(vote_worker, "RENEW_SECONDS", 60)
    else:
        pytest.skip("SQLite locks the whole database")
    worker = await worker_on(database, redis)
    async with running(worker):
        await eventually(lambda: now(lambda: len(worker.leased)), lambda leased: leased == PARTITIONS)
        async with database.transaction() as q:
            await model.lock_offset(q, "sql", 1)
            await vote(redis, 1, "held up")
            await eventually(lambda: now(lambda: worker.pending), lambda pending: pending == 1)
            await eventually(lambda: now(lambda: worker.error), bool, 10, "an error")
        await until_stored(database, 1)
        await vote(redis, 2, "v")
        await until_stored(database, 2)
        await eventually(lambda: now(lambda: worker.error), lambda error: error is None, 10)


async def test_an_outage_of_redis_and_of_sql_is_waited_for(tmp_path: Path) -> None:
    with mariadb(tmp_path / "m") as sql, redis_server(tmp_path / "r") as server:
        async with SqlDatabase(sql.url) as database, connect(server.url, timeout=5) as redis:
            await database.migrate(PARTITIONS)
            worker = await worker_on(database, redis)
            async with running(worker) as task:
                await vote(redis, 0, "first")
                await until_stored(database, 1)
                sql.kill()
                await vote(redis, 0, *(f"v{n}" for n in range(1500)))
                await eventually(lambda: now(lambda: worker.error), bool, what="an error")
                sql.start()
                await until_stored(database, 1501)
                await eventually(lambda: now(lambda: worker.error), lambda error: error is None)
                server.kill()
                await eventually(lambda: now(lambda: worker.error), bool, what="an error")
                server.start()
                await vote(redis, 3, "last")
                await until_stored(database, 1502)
                assert not task.done()
            assert await model.dead_letters_by_poll(database) == {}


async def test_drain_says_when_the_log_lacks_what_was_never_stored(
    database: SqlDatabase, redis: Redis
) -> None:
    await vote(redis, 0, "v")
    await redis.xtrim(KEYS.log(0, 1), maxlen=0, approximate=False)
    worker = await worker_on(database, redis)
    with pytest.raises(PollroomError):
        await worker.drain()


async def test_the_sweep_closes_what_is_due_and_survives_errors(
    database: SqlDatabase, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vote_worker, "SWEEP_SECONDS", 0.05)
    worker = await worker_on(database, redis)
    at = (await clock_of(redis)).now()
    due = {(await add(database, rules(f"DUE{n}22", closes_at=at - n))).id for n in range(3)}
    await add(database, rules("LATER2", closes_at=at + 3_600_000))
    asked: list[str] = []

    async def close(poll_id: str) -> None:
        asked.append(poll_id)
        raise PollroomError("UNAVAILABLE")

    async def asked_twice() -> bool:
        return len(asked) >= 6

    task = asyncio.create_task(worker.sweep(close))
    await eventually(asked_twice, bool)
    task.cancel()
    await asyncio.wait([task])
    assert set(asked) == due


def test_batches_are_bounded_by_rows_and_bytes() -> None:
    small = [LogEntry(LogPosition(n, 0), b"x", Undecodable("", "")) for n in range(2500)]
    assert [len(batch) for batch in batches(small)] == [1000, 1000, 500]
    large = [LogEntry(LogPosition(n, 0), b"x" * (400 << 10), Undecodable("", "")) for n in range(5)]
    assert [len(batch) for batch in batches(large)] == [2, 2, 1]
    assert [
        len(batch)
        for batch in batches([LogEntry(LogPosition(1, 0), b"x" * (3 << 20), Undecodable("", "")), small[0]])
    ] == [
        1,
        1,
    ]
    assert list(batches([])) == []
