"""The files that ``docs/architecture.md`` lists on the way of a vote and of a tally are those that run."""

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.harness.http import Api
from tools.harness.process import ROOT, Server, serving
from tools.harness.wait import eventually
from tools.harness.websocket import Socket, socket

pytestmark = pytest.mark.anyio

PAGE = (ROOT / "docs" / "architecture.md").read_text()
BESIDE = (
    *("__main__.py", "bootstrap/", "utils/", "http/", "workers/", "ports/", "repositories/", "adapters/sql/"),
    *(
        "services/vote_log/",
        "services/recovery/",
        "services/polls/",
        "services/accounts/",
        "services/health.py",
    ),
    *("domain/log_position.py", "domain/polls.py", "adapters/redis/connection/scripts.py"),
    *(
        f"adapters/redis/ledger/{name}.py"
        for name in ("vote_log", "log_codec", "fences", "poll_store", "codec")
    ),
)
"""The worker and what recurs run in the same process."""


def listed(begin: str, end: str) -> set[str]:
    part = PAGE.partition(begin)[2].partition(end)[0]
    return set(re.findall(r"\(\.\./app/([\w/]+\.py)\)", part)) | set(re.findall(r"`([\w/]+\.py)`", part))


VOTE = listed("A vote over the WebSocket", "Voting and delivery are decoupled")
TALLY = listed("A new tally passes", "`websocket/rooms.py` writes directly")


@dataclass
class Traced:
    server: Server
    file: Path

    async def begin(self) -> None:
        self._signal(signal.SIGUSR1)

    async def end(self) -> set[str]:
        self._signal(signal.SIGUSR2)

        async def written() -> bool:
            return self.file.exists()

        await eventually(written, bool, what="a trace")
        found = set(self.file.read_text().split())
        self.file.unlink()
        return {file for file in found if not file.startswith(BESIDE)}

    def _signal(self, number: signal.Signals) -> None:
        (process,) = self.server.processes
        os.kill(process.pid, number)


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    file = tmp_path / "trace"
    settings = {"PYTHONPATH": str(ROOT / "tools/harness/tracing"), "TRACE_FILE": str(file)}
    with serving(tmp_path / "server", settings) as server:
        yield Traced(server, file)


async def votes(traced: Traced, ws: Socket, poll: dict[str, object], *, joined: bool) -> set[str]:
    """The files that run for one vote; the first ones load the poll and the scripts."""
    options = [option["id"] for option in poll["options"]]  # type: ignore[attr-defined]
    for n in range(2):
        (await ws.vote(str(poll["id"]), options[:1], id=f"warm-{n}")).fresh()
    if joined:
        await ws.shows(poll, voters=1)
    await traced.begin()
    mark = ws.mark()
    (await ws.vote(str(poll["id"]), options[1:2], id="traced")).fresh()
    if joined:
        await ws.shows(poll, mark=mark)
    return await traced.end()


@pytest.fixture
async def api(traced: Traced) -> AsyncIterator[Api]:
    api = Api(traced.server)
    yield api
    await api.http.aclose()


async def test_a_vote_and_its_answer_run_through_the_files_listed(traced: Traced, api: Api) -> None:
    poll = await api.poll(await api.user(), guests=True, allowChange=True)
    async with socket(traced.server, await api.guest()) as ws:
        assert await votes(traced, ws, poll, joined=False) == VOTE


async def test_a_tally_runs_through_the_files_listed(traced: Traced, api: Api) -> None:
    poll = await api.poll(await api.user(), guests=True, allowChange=True)
    async with socket(traced.server, await api.guest()) as ws:
        await ws.join(poll)
        found = await votes(traced, ws, poll, joined=True)
        assert found - VOTE == TALLY - VOTE
        assert found >= TALLY
