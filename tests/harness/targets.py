"""What the contract suite runs against, as ``POLLROOM_TARGETS`` names it (comma-separated; ``embedded`` unless set).

``embedded``: the default, one process with everything inside. ``services``: MariaDB and Redis with a worker as a process
of its own. ``pair``: the same with two instances, and clients spread over both. ``cluster``: the pair on a Redis Cluster.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.harness.process import Process, run

TARGETS = [name.strip() for name in os.environ.get("POLLROOM_TARGETS", "embedded").split(",")]


@dataclass(frozen=True)
class Target:
    """``settings`` that every server of it gets; ``instances`` that ``Server.url()`` spreads over."""

    name: str
    settings: dict[str, str]
    instances: int = 1


@contextmanager
def target(name: str, folder: Path) -> Iterator[Target]:
    if name == "embedded":
        yield Target(name, {})
        return
    if name not in ("services", "pair", "cluster"):
        raise ValueError(f"POLLROOM_TARGETS: {name} is none of embedded, services, pair, cluster")
    from tools import servers as services
    from tools.servers.cluster import RedisCluster, redis_cluster

    with ExitStack() as stack:
        redis: services.RedisServer | RedisCluster
        if name == "cluster":
            redis = stack.enter_context(redis_cluster(folder / "redis"))
        else:
            redis = stack.enter_context(services.redis_server(folder / "redis"))
        settings = {
            "DATABASE_URL": stack.enter_context(_database(folder / "mariadb")),
            "REDIS_URL": redis.url,
            "JWT_SECRET": "a secret of the tests, and nothing else",
        }
        with worked_on(settings, folder / "worker.log"):
            yield Target(name, settings, 1 if name == "services" else 2)


@contextmanager
def worked_on(settings: dict[str, str], log: Path) -> Iterator[None]:
    """The database that ``settings`` name migrated, and a worker on it; it must not end before it is told to."""
    migrated = run(["migrate"], settings)
    assert migrated.returncode == 0, migrated.stdout
    worker = Process(["worker"], settings, log)
    try:
        yield
    except BaseException:
        worker.kill()
        raise
    assert worker.exit_code is None, f"the worker ended\n{worker.tail()}"
    assert worker.terminate() == 0, worker.tail()


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    """An empty database: on the server that ``TEST_DATABASE_URL`` names, else on a MariaDB of its own."""
    from anyio.from_thread import start_blocking_portal

    from tools import servers as services

    if shared := os.environ.get("TEST_DATABASE_URL"):
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(services.fresh_database(shared)) as url,
        ):
            yield url
    else:
        with services.mariadb(folder) as database:
            yield database.url
