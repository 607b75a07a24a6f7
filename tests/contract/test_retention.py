"""RETENTION_DAYS: voters of closed polls are forgotten, counts stay; deleted polls, guests and sessions go."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.harness.targets import Target
from tools.harness.http import Api, ok
from tools.harness.process import Server, run, serving
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio

SECONDS = 2.0


@pytest.fixture(scope="module")
def server(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two seconds of memory. The worker of targets with one of its own keeps everything: only the embedded one is tested."""
    if where.name != "embedded":
        pytest.skip("the worker of this target has settings of its own")
    settings = where.settings | {"RETENTION_DAYS": f"{SECONDS / 86_400:.9f}"}
    with serving(tmp_path_factory.mktemp("short"), settings) as server:
        yield server


async def test_a_closed_poll_forgets_its_voters_and_keeps_its_counts(api: Api, server: Server) -> None:
    owner = await api.user()
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True, allowChange=True)
    options = option_ids(poll)
    guests = await api.guests(12)
    for number, guest in enumerate(guests):
        (await api.vote(guest, poll["id"], [options[number % 3]], id=f"v{number}")).fresh()
    (await api.retract(guests[0], poll["id"], "gone")).fresh()
    before = (await api.close(owner, poll))["tally"]
    assert before["voters"] == 11
    assert (await api.vote(guests[1], poll["id"], [options[1]], id="v1")).body["repeated"]

    async def repeated() -> str | None:
        return (await api.vote(guests[1], poll["id"], [options[1]], id="v1")).code

    await eventually(repeated, lambda code: code == "POLL_CLOSED", 30)
    after = await api.tally(poll)
    assert {**after, "seq": 0} == {**before, "seq": 0}
    state = await api.state(poll, guests[1])
    assert state["yourVote"] is None and state["poll"]["status"] == "closed"
    recounted = await asyncio.to_thread(run, ["recount", poll["id"]], server.of_instance(0))
    assert recounted.returncode == 0 and "equal" in recounted.stdout, recounted.stdout


async def test_an_open_poll_keeps_its_voters(api: Api) -> None:
    owner, voter = await api.user(), await api.user()
    poll = await api.poll(owner)
    (await api.vote(voter, poll["id"], option_ids(poll)[:1], id="kept")).fresh()
    await asyncio.sleep(SECONDS + 1.5)
    assert (await api.vote(voter, poll["id"], option_ids(poll)[:1], id="kept")).body["repeated"]


async def test_a_deleted_poll_leaves_sql(api: Api, server: Server) -> None:
    owner, voter = await api.user(), await api.user()
    poll = await api.poll(owner)
    (await api.vote(voter, poll["id"], option_ids(poll)[:1])).fresh()
    assert (await api.delete(f"/polls/{poll['id']}", owner)).status_code == 204
    assert (await api.delete("/auth/sessions", voter)).status_code == 204

    async def rows() -> int:
        with closing(sqlite3.connect(f"{server.of_instance(0)['DATA_DIR']}/pollroom.db")) as database:
            (polls,) = database.execute("SELECT COUNT(*) FROM polls WHERE id = ?", (poll["id"],)).fetchone()
            (ballots,) = database.execute(
                "SELECT COUNT(*) FROM ballots WHERE poll_id = ?", (poll["id"],)
            ).fetchone()
            (sessions,) = database.execute(
                "SELECT COUNT(*) FROM sessions WHERE user_id = ?", (voter.id,)
            ).fetchone()
        return int(polls) + int(ballots) + int(sessions)

    await eventually(rows, lambda left: left == 0, 30)
    assert (await api.get(f"/polls/{poll['id']}")).status_code == 404
    ok(await api.get("/polls", owner))
