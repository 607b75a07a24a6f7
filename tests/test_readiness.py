"""What operators are told of votes that cannot be stored, while voters notice nothing."""

import sqlite3
from pathlib import Path

import pytest

from tools.harness.http import Api, ok
from tools.harness.process import serving
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio


async def test_a_worker_that_cannot_store_is_away_and_the_server_ready(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner)

            async def shown() -> tuple[str, str]:
                report = ok(await api.get("/readyz"))
                return report["status"], report["checks"]["worker"]["status"]

            await eventually(shown, lambda found: found == ("ready", "ok"))
            # Others may read SQLite meanwhile, and not write.
            (file,) = (tmp_path / "data0").glob("*.db")
            lock = sqlite3.connect(file, isolation_level=None)
            try:
                lock.execute("BEGIN IMMEDIATE")
                (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
                await eventually(shown, lambda found: found == ("ready", "away"), 30)
                text = (await api.get("/metrics")).text
                assert 'pollroom_check{check="worker"} 0.0\n' in text
                assert 'pollroom_check{check="sql"} 1.0\n' in text
            finally:
                lock.close()
            await eventually(shown, lambda found: found == ("ready", "ok"), 30)
