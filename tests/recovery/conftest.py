"""A private Redis for each test, which stops, empties and damages it, and a database of each kind."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.plugin import not_tested
from tests.recovery.site import Site
from tests.services import Missing, RedisServer, fresh_database, redis_server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    try:
        with redis_server(tmp_path / "redis") as running:
            yield running
    except Missing as error:
        not_tested(error)


@pytest.fixture
def small(tmp_path: Path, redis: RedisServer) -> Site:
    """SQLite."""
    return Site(tmp_path, redis, None)


@pytest.fixture(params=["sqlite", "mariadb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> AsyncIterator[Site]:
    if request.param == "sqlite":
        yield Site(tmp_path, redis, None)
        return
    async with fresh_database(request.getfixturevalue("mariadb_server_url")) as url:
        yield Site(tmp_path, redis, url)
