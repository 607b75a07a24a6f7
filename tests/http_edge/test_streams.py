"""Streams as connections: limits, deadlines, slow readers, a stop, and nginx in between."""

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tools.harness.http import Api, ok, problem
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids
from tools.harness.sse import stream
from tools.harness.wait import eventually
from tools.harness.wire import wire

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).resolve().parents[2] / "docs"
FAST = {"PING_INTERVAL": "0.3", "DISCARD_SECONDS": "1", "MAX_SOCKETS": "2", "DRAIN_SECONDS": "1"}


async def test_silence_is_filled_with_comments_and_a_full_server_says_when_to_come_back(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, FAST) as server:
        async with Api(server) as api:
            poll = await api.poll(await api.user())
            async with stream(api, poll) as reader, stream(api, poll) as other:
                await reader.next()
                await other.next()
                refused = await api.http.get(f"{server.url()}/polls/{poll['id']}/stream")
                assert problem(refused, "UNAVAILABLE")["retryAfter"] >= 1
                assert int(refused.headers["retry-after"]) >= 1
                # No event comes; reading ends when the server does.
                ending = asyncio.create_task(reader.ended())
                await eventually(lambda: _number(reader.comments), lambda n: n >= 3, 10)
                os.kill(server.processes[0].pid, signal.SIGTERM)
                await ending
                await other.ended()
                assert "Traceback" not in server.log()


async def test_a_comment_comes_every_interval_also_between_events(tmp_path: Path) -> None:
    with serving(tmp_path, {"PING_INTERVAL": "0.5", "TICK_MS": "20"}) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner, allowChange=True)
            async with stream(api, poll, owner) as reader:
                await reader.next()

                async def vote_until_commented() -> int:
                    """An event more often than the interval."""
                    choice = [option_ids(poll)[reader.comments % 2]]
                    ok(await api.post(f"/polls/{poll['id']}/votes", {"optionIds": choice}, owner), 201)
                    await reader.next("POLL_UPDATE")
                    return reader.comments

                # 60 votes: the most that one voter may change.
                await eventually(vote_until_commented, lambda comments: comments >= 2, 20)


async def _number(n: int) -> int:
    return n


async def test_a_reader_that_never_reads_is_dropped(tmp_path: Path) -> None:
    with serving(tmp_path, {"DISCARD_SECONDS": "1", "PING_INTERVAL": "0.1", "TICK_MS": "10"}) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner, options=[f"{n} {'x' * 180}" for n in range(100)], allowChange=True)
            async with wire(server) as connection:
                request = f"GET /polls/{poll['id']}/stream HTTP/1.1\r\nHost: a\r\n\r\n"
                await connection.send(request.encode())

                async def viewers() -> int:
                    text = (await api.get("/metrics")).text
                    found = re.search(r"^pollroom_sockets (\d+)", text, re.M)
                    assert found
                    return int(found.group(1))

                await eventually(viewers, lambda n: n == 1, 10)

                async def changed_and_gone() -> int:
                    for n in range(20):
                        await api.edit(owner, poll, question=f"New {n}?")
                    return await viewers()

                await eventually(changed_and_gone, lambda n: n == 0, 30)


async def test_events_come_through_a_proxy_at_once(proxy: str, main_server: Server) -> None:
    async with Api(main_server) as api:
        owner = await api.user()
        poll = await api.poll(owner)
        async with stream(api, poll, owner, proxy) as reader:
            assert (await reader.next())["event"] == "POLL_STATE"
            (await api.vote(owner, poll["id"], option_ids(poll)[:1])).fresh()
            while (await reader.next("POLL_UPDATE"))["data"]["tally"]["voters"] != 1:
                pass
            ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
            await reader.ended()


async def test_the_example_with_curl_works_as_pasted(main_server: Server) -> None:
    (command,) = re.findall(r"^curl -N .*$", (DOCS / "protocol.md").read_text(), re.M)
    async with Api(main_server) as api:
        owner = await api.user()
        poll = await api.poll(owner)
        command = command.replace("http://127.0.0.1:8000", main_server.url()).replace("$POLL", poll["id"])
        with subprocess.Popen(
            command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
            ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
            rest = await asyncio.to_thread(process.stdout.read)
            assert process.wait(10) == 0
            assert lines[0].startswith("retry: ") and lines[2] == "event: POLL_STATE\n"
            assert "event: POLL_DELETED\n" in rest
