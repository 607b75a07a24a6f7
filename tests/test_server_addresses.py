"""``GET /server`` of a server that the network reaches."""

from pathlib import Path

import httpx
import pytest

from tools.harness.http import Api, ok
from tools.harness.process import serving

pytestmark = pytest.mark.anyio


async def test_a_server_on_all_interfaces_names_addresses_that_answer(tmp_path: Path) -> None:
    settings = {"HOST": "0.0.0.0", "PUBLIC_URL": "https://polls.example/room/"}
    with serving(tmp_path, settings) as server:
        async with Api(server) as api:
            where = ok(await api.get("/server", await api.user()))
        assert where["publicUrl"] == "https://polls.example/room"
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            for address in where["addresses"]:
                assert "127.0.0.1" not in address
                assert (await client.get(f"{address}/healthz")).status_code == 200
