"""Sites on a Redis of each test's own, which stops, empties and damages it, and on a database of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.recovery.site import Site
from tools.servers import RedisServer, fresh_database


@pytest.fixture
def small(tmp_path: Path, own_redis: RedisServer) -> Site:
    """SQLite."""
    return Site(tmp_path, own_redis, None)


@pytest.fixture(params=["sqlite", "mariadb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[Site]:
    if request.param == "sqlite":
        yield Site(tmp_path, own_redis, None)
        return
    async with fresh_database(request.getfixturevalue("mariadb_server_url")) as url:
        yield Site(tmp_path, own_redis, url)
