"""One MariaDB, one Redis and one worker a session; a pair of instances that gentle tests share, and pairs of one's own."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path

import pytest
import redis.asyncio
from anyio.from_thread import start_blocking_portal

from tests.harness.targets import worked_on
from tests.instances.pair import Pair, Site, pair, pair_of, servers
from tests.plugin import needing_services
from tools.harness.http import Person
from tools.harness.process import Server, run
from tools.servers import fresh_database, redis_server

OwnPair = Callable[..., AbstractAsyncContextManager[Pair]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: takes long; runs where -m names it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "nightly" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("nightly"):
                item.add_marker(pytest.mark.skip(reason="runs with -m nightly"))


@pytest.fixture(scope="session")
def site(mariadb_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        database = stack.enter_context(portal.wrap_async_context_manager(fresh_database(mariadb_server_url)))
        with needing_services():
            store = stack.enter_context(redis_server(folder / "redis"))
        settings = {
            "DATABASE_URL": database,
            "REDIS_URL": store.url,
            "JWT_SECRET": "a secret of the tests, and nothing else",
        }
        with worked_on(settings, folder / "worker.log"):
            yield Site(settings, database, store)
        recounted = run(["recount", "--all"], settings)
        assert recounted.returncode == 0, recounted.stdout
        print(recounted.stdout)


@pytest.fixture(scope="session")
def _both(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    settings = site.settings | {"REFRESH_GRACE_SECONDS": "0"}
    with servers(tmp_path_factory.mktemp("pair"), settings) as both:
        yield both


@pytest.fixture
async def shared(_both: tuple[Server, Server]) -> AsyncIterator[Pair]:
    """Both ready. Not to be killed; a refresh token answers once."""
    async with pair_of(_both) as found:
        await found.ready()
        yield found


@pytest.fixture
def own(site: Site, tmp_path: Path) -> OwnPair:
    """``async with own({settings of both}, a={…}, b={…}) as pair``: to be stopped and killed."""

    def open_(
        settings: Mapping[str, str] | None = None,
        a: Mapping[str, str] | None = None,
        b: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Pair]:
        return pair(tmp_path, {**site.settings, **(settings or {})}, a, b)

    return open_


@pytest.fixture
async def redis_client(site: Site) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.from_url(site.redis.url) as client:
        yield client


@pytest.fixture
async def owner(shared: Pair) -> Person:
    """A registered user of the shared pair."""
    return await shared.via_a.owner()
