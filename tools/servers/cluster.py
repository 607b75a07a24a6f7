"""A real Redis Cluster on loopback: masters and replicas as private processes on free ports."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError, ResponseError

from app.adapters.redis.connection.keys import Keys
from tools.servers import Missing, RedisServer, free_port, path_redis_binary, redis_server

SLOTS = 16_384
NODE_TIMEOUT_MS = 1500
READY_SECONDS = 30.0


class RedisCluster:
    """``nodes``: the masters, then a replica of each, where there are replicas."""

    def __init__(self, nodes: list[RedisServer], masters: int) -> None:
        self.nodes = nodes
        self.masters = nodes[:masters]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def ask(self, node: RedisServer, *command: Any) -> Any:
        with Redis(port=node.port, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*command)

    def id(self, node: RedisServer) -> str:
        return str(self.ask(node, "CLUSTER MYID"))

    def serving(self, partition: int) -> RedisServer:
        """The master of a partition's slot, as the nodes that live agree."""
        slot = key_slot(Keys.tag(partition).encode())

        def master() -> RedisServer | None:
            owners = set()
            for node in self.nodes:
                if node.process.poll() is None:
                    for first, last, (_, port, *_), *_ in self.ask(node, "CLUSTER SLOTS"):
                        owners |= {port} if first <= slot <= last else set()
            found = [node for node in self.nodes if node.port in owners]
            return found[0] if len(found) == 1 else None

        return until(master, f"a master of slot {slot}")

    def whole(self) -> bool:
        """All slots are served, and every replica that lives has its master's data."""
        try:
            for node in self.nodes:
                if node.process.poll() is not None:
                    continue
                replication = self.ask(node, "INFO", "replication")
                up = replication["role"] == "master" or replication["master_link_status"] == "up"
                if self.ask(node, "CLUSTER INFO")["cluster_state"] != "ok" or not up:
                    return False
        except (ConnectionError, ResponseError):
            return False
        return True

    def promote(self, replica: RedisServer) -> None:
        """A failover by hand; Redis lets one lapse after 5 s where the others have not heard of the last one yet."""

        def promoted() -> bool:
            if self.ask(replica, "INFO", "replication")["role"] == "master":
                return True
            self.ask(replica, "CLUSTER FAILOVER")
            end = time.monotonic() + 6
            while self.ask(replica, "INFO", "replication")["role"] != "master" and time.monotonic() < end:
                time.sleep(0.05)
            return False

        until(promoted, "a promotion")
        until(self.whole, "a whole cluster")

    def move(self, partition: int, target: RedisServer, pause: Callable[[], None] = lambda: None) -> None:
        """Move a partition's slot as ``redis-cli --cluster reshard`` does. ``pause``: called after every key."""
        slot, source = key_slot(Keys.tag(partition).encode()), self.serving(partition)
        assert source is not target
        there, here = self.id(target), self.id(source)
        self.ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", here)
        self.ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", there)
        while keys := self.ask(source, "CLUSTER GETKEYSINSLOT", slot, 1):
            self.ask(source, "MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            pause()
        for node in (target, source, *self.masters):
            if node.process.poll() is None:
                self.ask(node, "CLUSTER SETSLOT", slot, "NODE", there)


def until(probe: Callable[[], Any], what: str, seconds: float = READY_SECONDS) -> Any:
    """The first true value of ``probe``."""
    end = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return value


@contextmanager
def redis_cluster(folder: Path, *, masters: int = 3, replicas: bool = True) -> Iterator[RedisCluster]:
    """Some seconds. As durable as the embedded default. Raises ``Missing`` where redis-server is older than 7."""
    binary = path_redis_binary()
    with ExitStack() as stack:
        nodes, buses = [], []
        for number in range(masters * (1 + replicas)):
            buses.append(free_port())
            config = {
                "cluster_enabled": "yes",
                "cluster_port": str(buses[-1]),
                "cluster_node_timeout": str(NODE_TIMEOUT_MS),
                "cluster_replica_validity_factor": "0",
                "cluster_require_full_coverage": "no",
                "repl_diskless_sync_delay": "0",
            }
            try:
                server = redis_server(folder / f"node{number}", binary=binary, **config)
                nodes.append(stack.enter_context(server))
            except RuntimeError as error:
                raise Missing(f"a Redis of 7 or newer ({error})") from None
        cluster = RedisCluster(nodes, masters)
        for number, node in enumerate(nodes):
            cluster.ask(node, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < masters:
                first, last = SLOTS * number // masters, SLOTS * (number + 1) // masters - 1
                cluster.ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            cluster.ask(nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, bus)

        def acquainted() -> bool:
            lines = [cluster.ask(node, "CLUSTER NODES") for node in nodes]
            return all(
                len(known) == len(nodes) and not any("handshake" in node["flags"] for node in known.values())
                for known in lines
            )

        until(acquainted, "all nodes know each other")
        for master, replica in zip(nodes[:masters], nodes[masters:], strict=False):
            cluster.ask(replica, "CLUSTER", "REPLICATE", cluster.id(master))
        until(cluster.whole, "a whole cluster")
        yield cluster
