"""Fixtures of the black-box suite, and the servers' logs beside a failure."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any

import pytest

from tests.harness.targets import TARGETS, Target, target
from tools.harness.http import Api, Person
from tools.harness.process import LIVE, Server, serving
from tools.harness.websocket import Socket, Sockets, bare_socket, socket

Open = Callable[..., AbstractAsyncContextManager[Socket]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", params=TARGETS)
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """What the suite runs against: see ``tests/harness/targets.py``."""
    with target(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(scope="session")
def main_server(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share: no message limit, else as it comes."""
    with serving(tmp_path_factory.mktemp("server"), where.settings, where.instances) as server:
        yield server


@pytest.fixture
def server(main_server: Server) -> Server:
    """A module with a server of its own overrides this one; the fixtures below follow."""
    return main_server


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with Api(server) as client:
        yield client


@pytest.fixture
def ws(server: Server) -> Open:
    """``async with ws(token) as socket``: see ``tests.harness.websocket.socket``."""
    return partial(socket, server)


@pytest.fixture
def bare(server: Server) -> Open:
    """As ``ws``, with nothing awaited yet."""
    return partial(bare_socket, server)


@pytest.fixture
async def owner(api: Api) -> Person:
    """A registered user, shared by the tests of one server: for polls, not for sessions or lists."""
    return await api.owner()


@pytest.fixture
async def guest(api: Api) -> Person:
    return await api.guest()


@pytest.fixture(params=["http", "websocket"])
async def ballots(request: pytest.FixtureRequest, server: Server, api: Api) -> AsyncIterator[Api | Sockets]:
    """``vote`` and ``retract`` over each transport in turn."""
    if request.param == "http":
        yield api
        return
    async with AsyncExitStack() as stack:
        yield Sockets(server, stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for server in LIVE:
            for process in server.processes:
                report.sections.append((f"log of {process.pid}", process.tail(4000)))
    return report
