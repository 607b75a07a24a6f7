"""kill -9 under load, restarts, and what must still be there: the embedded default, whatever the suite runs against."""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import WebSocketException

from tools.harness.http import Answer, Api, Person, ballot_answer, ok
from tools.harness.process import Process, Server, run
from tools.harness.shapes import counted, option_ids, public
from tools.harness.wait import eventually
from tools.harness.websocket import socket
from tools.servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An embedded server of the test's own, to be killed and started again; the lost frames of others are not its."""
    server = Server(tmp_path / "server").start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with Api(server) as client:
        yield client


@dataclass
class Load:
    """Voters who keep changing their votes. ``acked``: (voter, ballot id) -> option and the answer that came."""

    poll: dict[str, Any]
    voters: list[Person]
    acked: dict[tuple[int, str], tuple[str, Answer]] = field(default_factory=dict)
    unknown: dict[tuple[int, str], str] = field(default_factory=dict)

    async def over_http(self, api: Api, index: int, round_: int) -> None:
        options = option_ids(self.poll)
        for number in range(60):
            ballot, option = f"r{round_}-{number}", options[(index + number) % len(options)]
            self.unknown[index, ballot] = option
            body = {"optionIds": [option], "id": ballot}
            response = await api.http.post(
                f"{api.server.url()}/polls/{self.poll['id']}/votes",
                json=body,
                headers={"Authorization": f"Bearer {self.voters[index].token}"},
            )
            if response.status_code >= 500:
                continue
            answer = ballot_answer(response)
            if answer.code is None:
                self.acked[index, ballot] = (option, answer)
            del self.unknown[index, ballot]

    async def over_websocket(self, server: Server, index: int, round_: int) -> None:
        options = option_ids(self.poll)
        async with socket(server, self.voters[index]) as sock:
            for number in range(60):
                ballot, option = f"r{round_}-{number}", options[(index + number) % len(options)]
                self.unknown[index, ballot] = option
                answer = await sock.vote(self.poll["id"], [option], id=ballot)
                if answer.code == "UNAVAILABLE":
                    continue
                if answer.code is None:
                    self.acked[index, ballot] = (option, answer)
                del self.unknown[index, ballot]

    async def run(self, api: Api, round_: int) -> None:
        """All of them until the server is gone, or all is said."""

        async def one(index: int) -> None:
            with contextlib.suppress(httpx.TransportError, OSError, WebSocketException, AssertionError):
                if index % 2:
                    await self.over_websocket(api.server, index, round_)
                else:
                    await self.over_http(api, index, round_)

        await asyncio.gather(*(one(index) for index in range(len(self.voters))))

    async def reach(self, count: int) -> None:
        async def acked() -> int:
            return len(self.acked)

        await eventually(acked, lambda n: n >= count, 30, f"{count} acknowledged ballots")


async def load(api: Api, voters: int = 10) -> tuple[Person, Load]:
    owner = await api.user()
    poll = await api.poll(owner, options=["a", "b", "c"], guests=True, allowChange=True)
    return owner, Load(poll, await api.guests(voters))


async def check(api: Api, work: Load, owner: Person) -> None:
    """Every acknowledged ballot is there, its repeat answers as it did, and the tally is the sum of what stands."""
    for (index, ballot), (option, answer) in work.acked.items():
        (await api.vote(work.voters[index], work.poll["id"], [option], id=ballot)).repeats(answer)
    before = await api.tally(work.poll)
    stands: dict[str, int] = {}
    for index, voter in enumerate(work.voters):
        vote = (await api.state(work.poll, voter))["yourVote"]
        mine = [answer.body for (who, _), (_, answer) in work.acked.items() if who == index]
        assert vote is not None or not mine
        if vote is not None:
            assert vote["seq"] >= max((body["seq"] for body in mine), default=0)
            for option in vote["optionIds"]:
                stands[option] = stands.get(option, 0) + 1
    assert counted(before) == stands
    assert before["voters"] == sum(stands.values())
    assert before["seq"] >= max(answer.body["seq"] for _, answer in work.acked.values())
    seqs = [answer.body["seq"] for _, answer in work.acked.values()]
    assert len(set(seqs)) == len(seqs)
    for (index, ballot), option in work.unknown.items():
        answer = await api.vote(work.voters[index], work.poll["id"], [option], id=ballot)
        assert answer.code in (None, "CHANGE_LIMIT"), answer


async def recounted(server: Server) -> None:
    """``recount --all`` finds Redis and SQL equal once the log is drained."""

    async def exit_code() -> tuple[int, str]:
        done = await asyncio.to_thread(run, ["recount", "--all"], server.of_instance(0))
        return done.returncode, done.stdout

    await eventually(exit_code, lambda found: found[0] == 0, 30, "recount --all equal")


async def test_every_acked_vote_is_there_after_a_kill_9_of_everything_under_load(
    api: Api, server: Server
) -> None:
    works: list[tuple[Person, Load]] = []
    epochs: list[int] = []
    for round_ in range(2):
        # Voters of its own: those of the first round may have come to their 64 ids before the kill.
        owner, work = await load(api)
        works.append((owner, work))
        epochs.append((await api.tally(work.poll))["epoch"])
        running = asyncio.create_task(work.run(api, round_))
        await work.reach(60)
        await asyncio.to_thread(server.kill)
        await running
        await asyncio.to_thread(server.start)
        for owner, work in works:
            await check(api, work, owner)
    assert [(await api.tally(work.poll))["epoch"] for _, work in works] == epochs
    await recounted(server)


async def test_every_acked_vote_is_there_after_a_kill_9_of_the_leader_alone(api: Api, server: Server) -> None:
    owner, work = await load(api)
    running = asyncio.create_task(work.run(api, 0))
    await work.reach(60)
    process = server.processes[0]
    await asyncio.to_thread(process.kill_leader)
    await running
    assert await asyncio.to_thread(process.gone, 10) == {}, "a child outlived its parent"
    server.processes.clear()
    await asyncio.to_thread(server.start)
    await check(api, work, owner)
    await recounted(server)


async def test_a_start_right_after_a_kill_9_of_the_leader_loses_nothing(api: Api, server: Server) -> None:
    owner, work = await load(api)
    running = asyncio.create_task(work.run(api, 0))
    await work.reach(60)
    process = server.processes.pop()
    await asyncio.to_thread(process.kill_leader)
    await asyncio.to_thread(server.start)
    await running
    await check(api, work, owner)
    process.gone(10)


async def test_a_killed_redis_child_comes_back_with_every_acked_vote(api: Api, server: Server) -> None:
    owner, work = await load(api)
    process = server.processes[0]
    children = [pid for pid, command in process.family().items() if "redis-server" in command]
    assert len(children) == 1, process.family()
    async with socket(server) as watcher:
        await watcher.join(work.poll)
        running = asyncio.create_task(work.run(api, 0))
        await work.reach(60)
        os.kill(children[0], signal.SIGKILL)
        await running

        async def votable() -> int:
            response = await api.post(
                f"/polls/{work.poll['id']}/votes",
                {"optionIds": option_ids(work.poll)[:1], "id": "afterwards"},
                owner,
                allow_5xx=True,
            )
            assert response.status_code in (200, 201, 503), response.text
            return response.status_code

        await eventually(votable, lambda status: status in (200, 201), 20, "votes taken again")
        work.voters.append(owner)
        await check(api, work, owner)
        tally = await api.tally(work.poll)
        await watcher.shows(
            work.poll, timeout=10, voters=tally["voters"], seq=lambda seq: seq >= tally["seq"]
        )
    await recounted(server)


async def test_a_restart_that_lost_nothing_keeps_pairs_polls_sessions_and_keys(
    api: Api, server: Server
) -> None:
    owner, guest = await api.user(), await api.guest()
    key = "the key of the poll"
    fields = {"question": "Q", "options": ["a", "b"], "guests": True}
    poll = ok(await api.post("/polls", fields, owner, key=key), 201)["poll"]
    closed = await api.poll(owner)
    await api.close(owner, closed)
    vote = await api.vote(guest, poll["id"], option_ids(poll)[:1], id="b")
    vote.fresh()
    before = [await api.state(p, guest) for p in (poll, closed)]
    ended = await api.guest()
    await api.post("/auth/logout", None, ended)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    assert [await api.state(p, guest) for p in (poll, closed)] == before
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id="b")).repeats(vote)
    (await api.vote(guest, poll["id"], option_ids(poll)[:1], id="c")).refused("ALREADY_VOTED")
    assert ok(await api.post("/polls", fields, owner, key=key), 200)["poll"] == poll
    assert ok(await api.get(f"/join/{poll['code']}"))["poll"] == public(poll)
    ok(await api.post("/auth/refresh", {"refreshToken": guest.refresh}))
    ok(await api.post("/auth/login", {"email": owner.user["email"], "password": owner.password}))
    assert (await api.get("/auth/me", ended)).status_code == 401


async def test_a_poll_whose_closes_at_passes_while_the_server_is_down_is_closed(
    api: Api, server: Server
) -> None:
    from tools.harness.wait import SOON, ahead, now, parse

    owner = await api.user()
    poll = await api.poll(owner, closesAt=ahead(SOON), allowChange=True)
    (await api.vote(owner, poll["id"], option_ids(poll)[:1], id="b")).fresh()
    await asyncio.to_thread(server.kill)

    async def passed() -> bool:
        return now() > parse(poll["closesAt"])

    await eventually(passed, bool)
    await asyncio.to_thread(server.start)
    (await api.vote(owner, poll["id"], option_ids(poll)[1:], id="c")).refused("POLL_CLOSED")
    state = await api.state(poll)
    assert (state["poll"]["status"], state["poll"]["closesAt"]) == ("closed", poll["closesAt"])
    assert (state["tally"]["final"], state["tally"]["voters"]) == (True, 1)


async def test_sigterm_sends_1012_and_leaves_nothing_running(api: Api, server: Server) -> None:
    poll = await api.poll(await api.user())
    async with socket(server) as one, socket(server) as two:
        await one.join(poll)
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        assert await one.closed(10) == 1012
        assert await two.closed(10) == 1012
        await stopping


async def test_ctrl_c_ends_as_sigterm_does(server: Server) -> None:
    process = server.processes.pop()
    os.kill(process.pid, signal.SIGINT)

    async def gone() -> bool:
        return process.exit_code is not None

    await eventually(gone, bool, 20, "an end after Ctrl-C")
    assert await asyncio.to_thread(process.gone, 5) == {}
    assert process.exit_code in (0, 130, -signal.SIGINT)


async def test_a_second_start_on_the_same_folder_is_refused(api: Api, server: Server, tmp_path: Path) -> None:
    owner = await api.user()
    settings = server.of_instance(0) | {"PORT": str(free_port())}
    second = Process(["serve"], settings | {"POLLROOM_TEST": "second"}, tmp_path / "second.log")

    async def ended() -> int | None:
        return second.exit_code

    code = await eventually(ended, lambda code: code is not None, 20, "a refusal")
    assert code != 0
    assert second.tail().strip()
    assert "Traceback" not in second.tail()
    ok(await api.get("/auth/me", owner))


async def test_the_secret_of_the_embedded_default_is_its_owners_alone(server: Server) -> None:
    folder = Path(server.of_instance(0)["DATA_DIR"])
    secrets = [path for path in folder.rglob("*") if path.is_file() and "secret" in path.name.lower()]
    assert secrets
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)
