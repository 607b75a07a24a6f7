"""The pages behind a proxy that serves them under a sub-path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.pages.conftest import DESKTOP, Poll, Visit
from tests.plugin import needing_services
from tools.harness.process import Server
from tools.servers import nginx

pytestmark = pytest.mark.anyio


@pytest.fixture
def below(server: Server, tmp_path: Path) -> Iterator[str]:
    """The address of the sub-path at an nginx."""
    with needing_services(), nginx(tmp_path, server.url(0).removeprefix("http://"), "/rooms") as url:
        yield url


async def test_join_vote_and_watch_under_a_sub_path(visit: Visit, poll: Poll, below: str) -> None:
    async with visit(base=below) as phone, visit(base=below, viewport=DESKTOP) as screen:
        await screen.open(f"/p/{poll['code']}/screen")
        await phone.open("/")
        await phone.page.get_by_label("Code").fill(poll["code"])
        await phone.page.get_by_role("button", name="Join").click()
        await expect(phone.page).to_have_url(f"{below}/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await screen.sees("Tea", 1)
