"""Redis Cluster: each command to the node that serves its partition, whose hash tag ``{pNN}`` is in every key.

The library's own cluster client starts all over when one node is lost, and by itself sends again what may have been
executed. Here a node that is away holds up its own partitions alone, and nothing is repeated but what was refused.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from redis.asyncio import Redis
from redis.commands import AsyncCoreCommands
from redis.crc import key_slot
from redis.event import EventDispatcher
from redis.exceptions import ConnectionError, RedisError

from .client import ANSWER_SECONDS, SILENT, connect
from .cluster_pipeline import MOVED, ClusterPipeline, Moving, key_of, tag_of
from .topology import Address, Described, addresses, described, is_cluster, node_url

_SHORTEST_SECONDS: Final = 0.05
_OTHERS_SECONDS: Final = 0.2
"""How long the answers of further nodes are waited for once one has told the topology."""
SHARDED: Final = 7
"""The first version with sharded pub/sub."""


class Cluster(AsyncCoreCommands):
    """A client whose commands name at least one key, channel or pattern of one partition, or may go to any node.

    Raises what a client of one server raises, and ``Moving``.
    """

    # Which of the library's signatures hold, and what its methods expect of a client.
    _is_async_client: Literal[True] = True
    _event_dispatcher = EventDispatcher()

    def __init__(self, url: str, *, timeout: float | None, connections: int) -> None:
        """As ``connect``; ``timeout`` and ``connections`` are of each node."""
        self._url = url
        self._seeds = addresses(url)
        self._timeout = timeout
        self._connections = connections
        self._clients: dict[Address, Redis] = {}
        self._known = set(self._seeds)
        self._failure: Exception | None = None
        # (first slot, last slot, config epoch, master)
        self._ranges: list[tuple[int, int, int, Address]] = []
        self._places: dict[str, Redis] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed = 0.0
        self._doubted: set[str] = set()
        self.replicated = False

    async def at(self, key: str) -> Redis:
        """The node that serves the partition of ``key``, as far as it is known; ``Moving`` where none does."""
        tag = tag_of(key)
        if tag in self._doubted or not self._ranges:
            await self.refresh()
        place = self._places.get(tag)
        if place is None:
            slot = key_slot(tag.encode())
            claims = [claim for claim in self._ranges if claim[0] <= slot <= claim[1]]
            if not claims:
                self._doubted.add(tag)
                raise Moving(f"no node serves slot {slot}")
            # Nodes that differ: the highest epoch is right, as it is among themselves.
            place = self._places[tag] = self._client(max(claims, key=lambda claim: claim[2])[3])
        return place

    async def masters(self) -> list[Redis]:
        """Those that serve slots now."""
        await self.refresh()
        return [self._client(address) for address in sorted({claim[3] for claim in self._ranges})]

    def doubt(self, key: str) -> None:
        """A node was silent or has refused: look again before the next command to this partition."""
        self._doubted.add(tag_of(key))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """What the library's methods call. Sent once more where it was not executed for having moved."""
        key = key_of(args)
        if key is None:
            return await self._anywhere(args, options)
        try:
            return await self._once(key, args, options)
        except Moving:
            return await self._once(key, args, options)

    async def _once(self, key: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        client: Any = await self.at(key)
        try:
            return await client.execute_command(*args, **options)
        except MOVED as error:
            self.doubt(key)
            raise Moving(str(error)) from error
        except SILENT:
            self.doubt(key)
            raise

    async def _anywhere(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """``TIME``, ``PING``, ``PUBLISH``: harmless twice, so the next node is asked where one is silent."""
        masters: list[Any] = list(await self.masters())
        random.shuffle(masters)
        failure: Exception = ConnectionError("no node of the cluster answers")
        for client in masters:
            try:
                return await client.execute_command(*args, **options)
            except SILENT as error:
                failure = error
        raise failure

    def pipeline(self, transaction: bool = False) -> ClusterPipeline:
        """``transaction`` is the library's parameter; there is none over several nodes."""
        return ClusterPipeline(self.at, self.doubt)

    async def refresh(self) -> None:
        """Ask the nodes who serves what. Once at a time; ``ConnectionError`` where nobody has ever answered."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refresh_ended)
        await asyncio.shield(self._refreshing)

    def _refresh_ended(self, task: "asyncio.Task[None]") -> None:
        self._refreshing, self._refreshed = None, time.monotonic()
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be left

    async def _refresh(self) -> None:
        await asyncio.sleep(self._refreshed + _SHORTEST_SECONDS - time.monotonic())
        doubted = self._doubted.copy()
        tasks = [asyncio.create_task(self._ask(address)) for address in self._known]
        try:
            for answer in asyncio.as_completed(tasks):
                if await answer is not None:
                    await asyncio.wait(tasks, timeout=_OTHERS_SECONDS)
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        views = [task.result() for task in tasks if not task.cancelled() and task.result() is not None]
        if views:
            self._take([line for view in views if view is not None for line in view])
            self._doubted -= doubted
        elif not self._ranges:
            raise ConnectionError("no node of the cluster answers") from self._failure

    async def _ask(self, address: Address) -> list[Described] | None:
        """The cluster as one node sees it; none where it does not answer."""
        client: Any = self._client(address)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                nodes = await client.execute_command("CLUSTER NODES")
        except (*SILENT, RedisError) as error:  # a seed that is no part of the cluster any more, too
            self._failure = error
            return None
        return described(nodes, address)

    def _take(self, nodes: list[Described]) -> None:
        self._ranges = [
            (int(slots[0]), int(slots[-1]), int(node["epoch"]), address)
            for address, node in nodes
            if "master" in node["flags"]
            for slots in node["slots"]
        ]
        self._known = {*self._seeds, *(address for address, node in nodes if "fail" not in node["flags"])}
        self.replicated = any("slave" in node["flags"] for _, node in nodes)
        self._places = {}

    def _client(self, address: Address) -> Redis:
        client = self._clients.get(address)
        if client is None:
            client = connect(
                node_url(self._url, address), timeout=self._timeout, connections=self._connections
            )
            self._clients[address] = client
        return client

    async def aclose(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()


Client = Redis | Cluster


def open_client(url: str, *, timeout: float | None = ANSWER_SECONDS, connections: int = 32) -> Client:
    if is_cluster(url):
        return Cluster(url, timeout=timeout, connections=connections)
    return connect(url, timeout=timeout, connections=connections)


async def node_of(client: Client, key: str) -> Redis:
    """The server of a key: for what is asked of a server and not of a key."""
    return await client.at(key) if isinstance(client, Cluster) else client


async def servers(client: Client) -> list[Redis]:
    """All that hold something of ours."""
    return await client.masters() if isinstance(client, Cluster) else [client]


async def publish_command(client: Client) -> str:
    """Sharded where all servers can: a published tally then stays between those who serve and hear its partition."""
    if not isinstance(client, Cluster):
        return "PUBLISH"
    versions = []
    for node in await client.masters():
        with suppress(*SILENT):  # one that is away is taken to be like the others
            versions.append((await node.info("server"))["redis_version"])
    return "SPUBLISH" if all(int(version.split(".")[0]) >= SHARDED for version in versions) else "PUBLISH"
