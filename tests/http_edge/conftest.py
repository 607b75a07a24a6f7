"""nginx in front of the server."""

from collections.abc import Iterator

import pytest

from tests.plugin import needing_services
from tools import servers
from tools.harness.process import Server


@pytest.fixture(scope="module")
def nginx(main_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    upstream = main_server.url().removeprefix("http://")
    with needing_services(), servers.nginx(tmp_path_factory.mktemp("nginx"), upstream) as url:
        yield url
