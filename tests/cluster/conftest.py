"""A cluster, a database, a worker and two instances, of each test's own: nodes are killed and slots moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.nodes import RedisCluster, redis_cluster
from tests.cluster.site import Site, opened
from tests.plugin import not_tested
from tests.services import Missing

OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def open_site(mariadb_url: str, tmp_path: Path) -> OpenSite:
    """``async with open_site(replicas=False) as site``. At its end SQL and the ledger agree, and no log has a trace."""

    @contextlib.asynccontextmanager
    async def open_(replicas: bool = True) -> AsyncIterator[Site]:
        async with AsyncExitStack() as stack:
            # Its processes end with the thread that starts them: the main one.
            cluster: RedisCluster = stack.enter_context(_cluster(tmp_path / "redis", replicas))
            yield await stack.enter_async_context(opened(tmp_path, mariadb_url, cluster))

    return open_


@contextlib.contextmanager
def _cluster(folder: Path, replicas: bool):  # type: ignore[no-untyped-def]
    try:
        with redis_cluster(folder, replicas=replicas) as cluster:
            yield cluster
    except Missing as error:
        not_tested(error)


@pytest.fixture
async def site(open_site: OpenSite) -> AsyncIterator[Site]:
    """Three masters, three replicas."""
    async with open_site() as found:
        yield found
    await asyncio.sleep(0)
