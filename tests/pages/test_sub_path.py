"""The pages behind a proxy that serves them under a sub-path."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.pages.conftest import DESKTOP, Poll, Visit
from tests.plugin import needing_services
from tools.harness.process import Server
from tools.servers import free_port, nginx_program

pytestmark = pytest.mark.anyio


@pytest.fixture
def below(server: Server, tmp_path: Path) -> Iterator[str]:
    """The address of the sub-path at an nginx."""
    with needing_services():
        program = nginx_program()
    port = free_port()
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{name}_temp_path {tmp_path}/{name};" for name in names)
    (tmp_path / "nginx.conf").write_text(
        f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {tmp_path}/nginx.pid;
error_log {tmp_path}/error.log;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{port};
        location /rooms/ {{
            proxy_pass {server.url(0)}/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""
    )
    process = subprocess.Popen(
        [program, "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")]
    )
    try:
        yield f"http://127.0.0.1:{port}/rooms"
    finally:
        process.terminate()
        process.wait(10)


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
