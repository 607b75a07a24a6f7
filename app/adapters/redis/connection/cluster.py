"""Redis Cluster client. Sends each command to the node of its partition, found by the hash tag ``{pNN}`` of the keys.

The library's cluster client reinitializes when it loses one node, and repeats commands that may have been executed. Here
an unreachable node delays only its own partitions, and only commands that a node refused are repeated.
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

from ....utils.single_flight import SingleFlight
from .client import ANSWER_SECONDS, SILENT, Server, connect
from .cluster_pipeline import MOVED, ClusterPipeline, Moving, key_of, tag_of
from .topology import Address, Described, addresses, described, is_cluster, node_url

_SHORTEST_SECONDS: Final = 0.05
_OTHERS_SECONDS: Final = 0.2
"""How long to wait for further nodes after the first one reported the topology."""
_POLL_SECONDS: Final = 0.05
"""Polling interval of the streams: no command can block on several slots."""
SHARDED: Final = 7
"""The first version with sharded pub/sub."""


class Cluster(AsyncCoreCommands):
    """A client for commands that name a key, channel or pattern of one partition, or that any node can execute.

    Raises the errors of a single-server client, and ``Moving``.
    """

    # Attributes that the library's command methods expect of a client.
    _is_async_client: Literal[True] = True
    _event_dispatcher = EventDispatcher()

    identity_script = "member"
    """``member.lua`` names the server that runs a script."""
    independent_partitions = True
    """Some can be unreachable while others are not, so each has a connection of its own."""

    def __init__(self, url: str, *, timeout: float | None, connections: int) -> None:
        """Like ``connect``. ``timeout`` and ``connections`` apply per node."""
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
        self._refreshing: SingleFlight[None, None] = SingleFlight()
        self._refreshed = 0.0
        self._doubted: set[str] = set()
        self.replicated = False

    async def node(self, key: str) -> Redis:
        """The node that serves the partition of ``key``. Raises ``Moving`` if no known node does."""
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
            # If nodes disagree, the highest epoch wins, as it does within the cluster.
            place = self._places[tag] = self._client(max(claims, key=lambda claim: claim[2])[3])
        return place

    async def nodes(self) -> list[Redis]:
        """The nodes that serve slots now."""
        await self.refresh()
        return [self._client(address) for address in sorted({claim[3] for claim in self._ranges})]

    async def any_node(self) -> Redis:
        return random.choice(await self.nodes())

    def doubt(self, key: str) -> None:
        """Refresh the topology before the next command to this partition, after a node was silent or refused."""
        self._doubted.add(tag_of(key))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Called by the library's methods. Retries once if the slot moved and the command was not executed."""
        key = key_of(args)
        if key is None:
            return await self._anywhere(args, options)
        try:
            return await self._once(key, args, options)
        except Moving:
            return await self._once(key, args, options)

    async def _once(self, key: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        client: Any = await self.node(key)
        try:
            return await client.execute_command(*args, **options)
        except MOVED as error:
            self.doubt(key)
            raise Moving(str(error)) from error
        except SILENT:
            self.doubt(key)
            raise

    async def _anywhere(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """For ``TIME``, ``PING`` and ``PUBLISH``. They are safe to repeat, so a silent node is replaced by the next."""
        masters: list[Any] = list(await self.nodes())
        random.shuffle(masters)
        failure: Exception = ConnectionError("no node of the cluster answers")
        for client in masters:
            try:
                return await client.execute_command(*args, **options)
            except SILENT as error:
                failure = error
        raise failure

    def pipeline(self, transaction: bool = False) -> ClusterPipeline:
        """``transaction`` exists for compatibility with the library. Transactions cannot span nodes."""
        return ClusterPipeline(self.node, self.doubt)

    async def publish_command(self) -> str:
        """``SPUBLISH`` if all nodes support it, so that a tally is not broadcast to every node."""
        versions = []
        for node in await self.nodes():
            with suppress(*SILENT):  # an unreachable node is assumed to match the others
                versions.append((await node.info("server"))["redis_version"])
        return "SPUBLISH" if all(int(version.split(".")[0]) >= SHARDED for version in versions) else "PUBLISH"

    async def read_streams(self, streams: Mapping[str, str], count: int, block_ms: int) -> list[Any]:
        """A reply like that of ``XREAD``. Streams of unreachable nodes are left out; raises if no node is reachable."""
        until = time.monotonic() + block_ms / 1000
        while True:
            pipe = self.pipeline()
            for stream, last in streams.items():
                pipe.xread({stream: last}, count=count)
            replies = await pipe.execute(raise_on_error=False)
            failures = [reply for reply in replies if isinstance(reply, Exception)]
            if len(failures) == len(replies):
                raise failures[0]
            found = [pair for reply in replies if not isinstance(reply, Exception) for pair in reply or []]
            if found or time.monotonic() >= until:
                return found
            await asyncio.sleep(_POLL_SECONDS)

    async def refresh(self) -> None:
        """Ask the nodes for the topology, once at a time. Raises ``ConnectionError`` if no node has ever answered."""
        await self._refreshing.run(None, self._refresh)

    async def _refresh(self) -> None:
        await asyncio.sleep(self._refreshed + _SHORTEST_SECONDS - time.monotonic())
        try:
            await self._ask_nodes()
        finally:
            self._refreshed = time.monotonic()

    async def _ask_nodes(self) -> None:
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
        """The topology as one node reports it; ``None`` without a reply."""
        client: Any = self._client(address)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                nodes = await client.execute_command("CLUSTER NODES")
        except (*SILENT, RedisError) as error:  # includes a seed that has left the cluster
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
        await self._refreshing.close()
        for client in self._clients.values():
            await client.aclose()


Client = Server | Cluster


def open_client(url: str, *, timeout: float | None = ANSWER_SECONDS, connections: int = 32) -> Client:
    if is_cluster(url):
        return Cluster(url, timeout=timeout, connections=connections)
    return connect(url, timeout=timeout, connections=connections)
