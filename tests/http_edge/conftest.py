"""nginx or Caddy in front of the server."""

from collections.abc import Iterator

import pytest

from tests.plugin import needing_services
from tools import servers
from tools.harness.process import Server


@pytest.fixture(scope="module")
def nginx(main_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    with needing_services(), servers.nginx(tmp_path_factory.mktemp("nginx"), upstream(main_server)) as url:
        yield url


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, main_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of either."""
    opened = {"nginx": servers.nginx, "caddy": servers.caddy}[request.param]
    with needing_services(), opened(tmp_path_factory.mktemp(request.param), upstream(main_server)) as url:
        yield url


def upstream(server: Server) -> str:
    return server.url().removeprefix("http://")
