"""``app/web/pollroom.js``, the client for browsers, in node: through kills, outages, logouts and deletions."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.websocket.conftest import News, Open
from tools.harness.http import Api, Person, ok
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def voting(
    folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[tuple[Server, Api, Person, News]]:
    """A server of one's own with a poll that guests may vote in."""
    with serving(folder / "server", settings) as server:
        async with Api(server) as api:
            owner = await api.user()
            yield server, api, owner, await api.poll(owner, guests=True)


async def test_it_comes_back_after_a_kill_and_votes_once(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], refresh=guest.refresh) as room:
            room.vote(option_ids(poll)[0], "once")  # before it is connected
            first = await room.until(lambda: room.all("answer"))
            server.kill()
            room.vote(option_ids(poll)[0], "once")
            await asyncio.to_thread(server.start)
            again = await room.until(lambda: room.all("answer"), 2)
            assert first["type"] == "VOTE_ACCEPTED"
            assert again == first | {"repeated": True}
            assert room.all("shown")[-1]["tally"]["voters"] == 1


async def test_it_renews_its_token_on_the_same_socket(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {"ACCESS_TOKEN_SECONDS": "2"}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], refresh=guest.refresh) as room:
            await room.until(lambda: room.frames("AUTHENTICATED"), 3)
            assert len(room.frames("WELCOME")) == 1
            assert not room.frames("ERROR")


async def test_votes_of_an_outage_are_sent_again_until_they_are_taken(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], token=guest.token) as room:
            await room.until(lambda: room.all("shown"))
            family = server.processes[0].family().items()
            (redis,) = [pid for pid, command in family if "redis-server" in command]
            os.kill(redis, signal.SIGSTOP)
            try:
                room.vote(option_ids(poll)[0], "once")
                await room.until(lambda: [error for error in room.frames("ERROR") if error["id"] == "once"])
            finally:
                os.kill(redis, signal.SIGCONT)
            assert (await room.until(lambda: room.all("answer")))["type"] == "VOTE_ACCEPTED"
            assert {error["code"] for error in room.frames("ERROR")} == {"UNAVAILABLE"}


async def test_a_server_that_is_silent_is_left_and_the_vote_sent_anew(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {"PING_INTERVAL": "1"}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], token=guest.token) as room:
            await room.until(lambda: room.frames("PONG"))
            os.kill(server.processes[0].pid, signal.SIGSTOP)
            try:
                room.vote(option_ids(poll)[0], "once")
                await room.until(lambda: room.all("opened"), 2)
            finally:
                os.kill(server.processes[0].pid, signal.SIGCONT)
            assert (await room.until(lambda: room.all("answer")))["type"] == "VOTE_ACCEPTED"
            await room.until(lambda: room.frames("WELCOME"), 2)


async def test_after_a_logout_it_watches_on_and_votes_wait_for_a_token(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, owner, poll):
        guest = await api.guest()
        async with page(server, poll["code"], refresh=guest.refresh) as room:
            await room.until(lambda: room.all("shown"))
            ok(await api.post("/auth/logout", None, guest), 204)
            await room.until(lambda: room.frames("POLL_STATE"), 2)
            room.vote(option_ids(poll)[0], "waits")
            (await api.vote(owner, poll["id"], [option_ids(poll)[1]])).fresh()
            await room.until(lambda: [m for m in room.all("shown") if m["tally"]["voters"] == 1])
            assert not room.all("answer") and not room.all("over")
            room.tell(refresh=(await api.guest()).refresh)
            assert (await room.until(lambda: room.all("answer")))["type"] == "VOTE_ACCEPTED"


async def test_it_ends_where_the_token_is_refused_once_more(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], token=guest.token) as room:
            await room.until(lambda: room.all("shown"))
            ok(await api.post("/auth/logout", None, guest), 204)
            assert await room.until(lambda: room.all("over")) == 4401
            assert len(room.all("opened")) == 2
            room.vote(option_ids(poll)[0], "late")
            assert "disconnected" in await room.until(lambda: room.all("rejected"))


async def test_it_ends_with_the_poll(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, owner, poll), page(server, poll["code"]) as room:
        await room.until(lambda: room.all("shown"))
        room.vote(option_ids(poll)[0], "nobody")
        assert (await room.until(lambda: room.all("answer")))["code"] == "UNAUTHENTICATED"
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        assert await room.until(lambda: room.all("over")) == "POLL_DELETED"


async def test_it_ends_with_a_poll_that_went_while_it_slept(page: Open, tmp_path: Path) -> None:
    async with (
        voting(tmp_path, {"PING_INTERVAL": "1"}) as (server, api, owner, poll),
        page(server, poll["code"]) as room,
        socket(server) as watcher,
    ):
        await watcher.join(poll)
        await room.until(lambda: room.all("shown"))
        await watcher.until(lambda: _viewers(watcher.frames, 2), "both")
        room.sleep()
        await watcher.until(lambda: _viewers(watcher.frames, 1), "one alone")
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        room.vote(option_ids(poll)[0], "late")
        room.wake()
        assert await room.until(lambda: room.all("over")) == "NOT_FOUND"
        # Refused by the server, or not sent any more: the vote may have gone out before the page heard of the end.
        await room.until(lambda: room.all("rejected") or room.all("answer"))
        assert all(answer["type"] == "ERROR" for answer in room.all("answer"))


def _viewers(frames: list[News], number: int) -> bool | None:
    """Whether the newest are so many; none where not."""
    found = [frame["viewers"] for frame in frames if "viewers" in frame]
    return True if found and found[-1] == number else None


async def test_an_id_that_no_ballot_may_have_is_refused_at_once(page: Open, tmp_path: Path) -> None:
    async with voting(tmp_path, {}) as (server, api, _, poll):
        guest = await api.guest()
        async with page(server, poll["code"], token=guest.token) as room:
            room.vote(option_ids(poll)[0], "a b")
            assert "id" in await room.until(lambda: room.all("rejected"))
            for _ in range(2):
                room.vote(option_ids(poll)[0], "twice")
            await room.until(lambda: room.all("answer"), 2)
