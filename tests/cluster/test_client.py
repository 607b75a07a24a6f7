"""What the adapters rely on: commands find their node, and a node that was replaced is another server to the fence."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.adapters.redis.connection.client import SILENT
from app.adapters.redis.connection.cluster import Cluster, open_client
from app.adapters.redis.connection.keys import Keys
from app.adapters.redis.connection.topology import addresses
from app.adapters.redis.ledger.fences import RedisFences
from app.adapters.redis.ledger.poll_store import RedisPollStore
from app.adapters.redis.pubsub.bus import RedisBus
from app.bootstrap.settings import ConfigError, Settings
from tests.plugin import not_tested
from tools.harness.wait import eventually
from tools.servers import Missing
from tools.servers.cluster import RedisCluster, redis_cluster

pytestmark = pytest.mark.anyio
KEYS = Keys(16)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    try:
        with redis_cluster(tmp_path) as found:
            yield found
    except Missing as error:
        not_tested(error)


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[Cluster]:
    opened = open_client(cluster.url)
    assert isinstance(opened, Cluster)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://one.example:7000,10.0.0.2,[::1]:7001",
        "rediss+cluster://user:p,ss@one.example:7000,two.example:7000/",
        "redis+cluster://one",
    ],
)
def test_urls(url: str, tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIR": str(tmp_path), "REDIS_URL": url})
    assert settings.redis_url == url
    assert all(0 < port < 65536 for _, port in addresses(url))


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://one,",
        "redis+cluster://one:first",
        "redis+cluster://one/1",
        "redis+cluster://one:7000;two:7000",
        "redis+cluster+tls://one",
    ],
)
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Settings.from_env({"DATA_DIR": str(tmp_path), "REDIS_URL": url})


async def test_commands_find_their_node(cluster: RedisCluster, client: Cluster) -> None:
    pipe = client.pipeline()
    for partition in range(16):
        pipe.hset(f"{KEYS.tag(partition)}:poll:p{partition}", "seq", partition)
    assert await pipe.execute() == [1] * 16
    for partition in range(16):
        port = (await client.node(KEYS.tag(partition))).connection_pool.connection_kwargs["port"]
        assert port == cluster.serving(partition).port
        assert await client.hget(f"{KEYS.tag(partition)}:poll:p{partition}", "seq") == str(partition).encode()
    poll_store = RedisPollStore(client, KEYS)
    every = sorted([poll for page in [p async for p in poll_store.polls()] for poll in page])
    assert every == sorted(f"p{partition}" for partition in range(16))
    assert [page async for page in poll_store.polls(3)] == [["p3"]]
    assert len(await client.nodes()) == 3
    assert await client.publish_command() == "SPUBLISH"


async def test_a_lost_node_holds_up_its_own_keys_alone(cluster: RedisCluster, client: Cluster) -> None:
    here = next(p for p in range(16) if cluster.serving(p) is cluster.masters[0])
    other = next(p for p in range(16) if cluster.serving(p) is not cluster.masters[0])
    await client.set(f"{KEYS.tag(other)}:x", "kept")
    cluster.masters[0].kill()
    with pytest.raises(SILENT):  # first of all: soon a replica is promoted
        await client.get(f"{KEYS.tag(here)}:x")
    for _ in range(5):
        assert await client.get(f"{KEYS.tag(other)}:x") == b"kept"
        assert await client.ping()

    async def written() -> bool:
        try:
            return bool(await client.set(f"{KEYS.tag(here)}:x", "new"))
        except SILENT:
            return False

    await eventually(written, bool, 15, "a promoted replica")


async def test_a_moved_slot_is_followed_and_a_moving_one_is_silent(
    cluster: RedisCluster, client: Cluster
) -> None:
    source = cluster.serving(0)
    target = next(master for master in cluster.masters if master is not source)
    await client.mset({f"{KEYS.tag(0)}:{n}": "kept" for n in range(3)})
    seen: list[str] = []

    def look() -> None:
        async def ask() -> None:
            try:
                await beside.mget([f"{KEYS.tag(0)}:{n}" for n in range(3)])
            except SILENT as error:
                seen.append(type(error).__name__)
            finally:
                await beside.aclose()

        beside = open_client(cluster.url)
        asyncio.run(ask())

    await asyncio.to_thread(cluster.move, 0, target, look)
    assert seen == ["Moving"] * 3
    assert await client.mget([f"{KEYS.tag(0)}:{n}" for n in range(3)]) == [b"kept"] * 3
    assert cluster.serving(0) is target


async def test_a_fence_does_not_hold_after_a_promotion_there_and_back(
    cluster: RedisCluster, client: Cluster
) -> None:
    """The process that serves the slot is the one that the fence was written on, but its data went through another."""
    fences = RedisFences(client, KEYS)
    master = cluster.serving(0)
    replica = cluster.nodes[cluster.masters.index(master) + 3]
    before = await fences.inspect(0)
    assert await fences.write(0, before.run, 1, "tests")
    assert (await fences.inspect(0)).verified == before.run
    assert not await fences.trusted()
    for promoted in (replica, master):
        await asyncio.to_thread(cluster.promote, promoted)
    after = await fences.inspect(0)
    assert after.verified == before.run != after.run
    assert not await fences.write(0, before.run, 1, "tests")


async def test_a_sharded_bus_follows_its_slot(cluster: RedisCluster, client: Cluster) -> None:
    listener = open_client(cluster.url, timeout=None)
    bus = RedisBus(listener, KEYS, KEYS.tag(0))
    heard: list[bytes] = []
    bus.handle(f"{KEYS.tag(0)}:here", heard.append)
    running = asyncio.create_task(bus.run())

    async def arrives(payload: bytes) -> None:
        async def said() -> bool:
            try:
                await client.spublish(f"{KEYS.tag(0)}:here", payload)
            except SILENT:
                return False
            return payload in heard

        await eventually(said, bool, 15)

    try:
        await arrives(b"first")
        source = cluster.serving(0)
        target = next(master for master in cluster.masters if master is not source)
        await asyncio.to_thread(cluster.move, 0, target)
        await arrives(b"moved")
        await asyncio.to_thread(target.kill)
        await arrives(b"failed over")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await listener.aclose()
