"""``ALLOWED_HOSTS``: which names a server answers to."""

from collections.abc import Iterator

import pytest

from app.domain.hosts import host_allowed
from tools.harness.process import Server, serving
from tools.harness.wire import exchange

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("host", "allowed", "answered"),
    [
        ("polls.example", {"polls.example"}, True),
        ("Polls.Example:8000", {"polls.example"}, True),
        ("polls.example.", {"polls.example"}, True),
        ("polls.example:8000", {"polls.example:8000"}, True),
        ("polls.example:8001", {"polls.example:8000"}, False),
        ("polls.example", {"polls.example:8000"}, False),
        ("a.polls.example", {".polls.example"}, True),
        ("polls.example", {".polls.example"}, True),
        ("evilpolls.example", {".polls.example"}, False),
        ("polls.example.evil", {"polls.example"}, False),
        ("[::1]:8000", {"[::1]"}, True),
        ("[::1]", {"[::1]"}, True),
        ("::1", {"[::1]"}, False),
    ],
)
def test_hosts(host: str, allowed: set[str], answered: bool) -> None:
    assert host_allowed(host, allowed) is answered


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hosts"), {"ALLOWED_HOSTS": "polls.example, 127.0.0.1"}) as found:
        yield found


UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_other_hosts_are_refused_on_every_transport_but_not_for_health_calls(server: Server) -> None:
    async def status(head: str, host: str) -> int:
        return (await exchange(server, head.format(host).encode())).status

    get = "GET {} HTTP/1.1\r\nHost: {{}}\r\n\r\n"
    for host, expected in (("polls.example", 200), ("POLLS.example:99", 200), ("evil.example", 400)):
        assert await status(get.format("/openapi.json"), host) == expected
        assert await status(UPGRADE, host) == (101 if expected == 200 else 400)
        assert await status(get.format("/healthz"), host) == 200
        assert await status(get.format("/readyz?x"), host) == 200
