"""A cluster, a database, a worker and two instances, of each test's own: nodes are killed and slots moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.site import Site, opened
from tests.plugin import needing_services
from tools.servers.cluster import redis_cluster

OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def open_site(mariadb_url: str, tmp_path: Path) -> OpenSite:
    """``async with open_site(replicas=False) as site``. At its end SQL and the ledger agree, and no log has a trace."""

    @contextlib.asynccontextmanager
    async def open_(replicas: bool = True) -> AsyncIterator[Site]:
        async with AsyncExitStack() as stack:
            # Its processes end with the thread that starts them: the main one.
            stack.enter_context(needing_services())
            cluster = stack.enter_context(redis_cluster(tmp_path / "redis", replicas=replicas))
            yield await stack.enter_async_context(opened(tmp_path, mariadb_url, cluster))

    return open_


@pytest.fixture
async def site(open_site: OpenSite) -> AsyncIterator[Site]:
    """Three masters, three replicas."""
    async with open_site() as found:
        yield found
    await asyncio.sleep(0)
