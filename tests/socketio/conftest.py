"""A server with the gateway, and real clients of it. What they need comes from ``scripts/services``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from tests.harness.targets import Target
from tests.socketio.client import Client, connected
from tools.harness.process import Server, serving

Connect = Callable[..., AbstractAsyncContextManager[Client]]

ON = {"SOCKETIO": "on", "REFRESH_GRACE_SECONDS": "0"}
TRANSPORTS = [("websocket",), ("polling",), ("polling", "websocket")]


@pytest.fixture(scope="session")
def gateway_server(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # One instance: a session by polling belongs to the instance that began it.
    with serving(tmp_path_factory.mktemp("gateway"), where.settings | ON) as server:
        yield server


@pytest.fixture
def server(gateway_server: Server) -> Server:
    return gateway_server


@pytest.fixture
def sio(library: str, server: Server) -> Connect:
    """``async with sio(token, transports=…) as client``: connected, and known where it has a token."""
    return partial(connected, library, server)


@pytest.fixture(params=TRANSPORTS, ids="+".join)
def transports(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found
