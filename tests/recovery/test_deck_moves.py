"""A move of a deck whose process died after the row was written is finished by whoever finds it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tools.harness.http import Api, ok
from tools.harness.process import serving
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio


async def test_an_interrupted_move_is_finished_by_itself(tmp_path: Path) -> None:
    with serving(tmp_path, {}) as server:
        async with Api(server) as api:
            owner = await api.user()
            old, new = [await api.poll(owner, draft=True) for _ in range(2)]
            body = {"title": "Quiz", "pollIds": [old["id"], new["id"]]}
            deck = ok(await api.post("/decks", body, owner), 201)["deck"]
            ok(await api.post(f"/decks/{deck['id']}/current", {"pollId": old["id"]}, owner))
            file = f"{server.of_instance(0)['DATA_DIR']}/pollroom.db"
            with closing(sqlite3.connect(file, timeout=10)) as database, database:
                database.execute(
                    "UPDATE decks SET version = version + 1, current_id = ?, move_from = ?, move_closes = 1,"
                    " move_opens = 1, moving_since = 1 WHERE id = ?",
                    (new["id"], old["id"], deck["id"]),
                )

            async def statuses() -> list[Any]:
                return [(await api.state(poll, owner))["poll"]["status"] for poll in (old, new)]

            await eventually(statuses, lambda found: found == ["closed", "open"], 5)
