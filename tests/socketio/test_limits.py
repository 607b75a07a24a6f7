"""Budgets, numbers of sockets, slow clients, silence, and the server's way down."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import Open
from tests.harness.targets import Target
from tests.socketio.client import connected
from tests.socketio.conftest import ON, Connect
from tests.socketio.engine import PATH, engine, polling
from tools.harness.http import Api, Person
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually
from tools.harness.websocket import bare_socket, socket

Transports = tuple[str, ...]


async def test_budgets_are_those_of_raw_sockets(
    library: str, where: Target, tmp_path: Path, transports: Transports
) -> None:
    with serving(tmp_path, where.settings | ON | {"MESSAGE_RATE": "1"}) as server:
        async with (
            Api(server) as api,
            connected(library, server, await api.guest(), transports=transports) as c,
        ):
            start = asyncio.get_running_loop().time()
            answers = await asyncio.gather(*(c.ask("leave_poll", {"pollId": "x"}) for _ in range(30)))
            took = asyncio.get_running_loop().time() - start
            refused = [answer for answer in answers if answer["type"] == "ERROR"]
            assert 30 - (2 + took + 1) <= len(refused) < 30  # one of the burst of two went to the handshake
            assert all(a["code"] == "RATE_LIMITED" and a["retryAfter"] > 0 for a in refused)
            assert not [news for news in c.news if news["news"] == "disconnect"]
            for _ in range(150):  # whoever does not listen is let go, and may come back
                await c.tell("leave_poll", {"pollId": "x"})
            await c.hears("disconnect", reason="transport close")
            await c.hears("reconnect", timeout=20)


async def test_sockets_of_both_transports_are_counted_together(
    library: str, where: Target, tmp_path: Path
) -> None:
    with serving(tmp_path, where.settings | ON | {"MAX_SOCKETS": "2"}) as server:
        async with socket(server), connected(library, server):
            async with bare_socket(server) as third:
                assert await third.closed() == 4503
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(server.url() + PATH + "polling")).status_code == 503
            with pytest.raises(ConnectionClosed) as refused:
                async with connect(server.url().replace("http", "ws", 1) + PATH + "websocket") as ws:
                    await ws.recv()
            assert refused.value.rcvd is not None and refused.value.rcvd.code == 4503

        async def again() -> bool:
            async with bare_socket(server) as sock:
                await sock.until(lambda: True if sock.frames or not sock.is_open else None, "an answer")
                return bool(sock.frames)

        await eventually(again, bool, 10, "room for another one")


async def test_viewers_are_counted_together_and_go_when_they_break_off(
    sio: Connect, ws: Open, api: Api, owner: Person, server: Server
) -> None:
    poll = await api.poll(owner)
    async with ws() as raw:
        await raw.join(poll)
        async with sio() as one, sio(transports=("polling",)) as two:
            assert (await one.join(poll))["viewers"] >= 1
            await two.join(poll)
            await raw.viewers(poll, 3)
        await raw.viewers(poll, 1)
        async with engine(server) as broken:
            await broken.send(json.dumps(["join_poll", {"pollId": poll["id"]}]).join(("42", "")))
            await raw.viewers(poll, 2)
            broken.connection.transport.abort()
            await raw.viewers(poll, 1)


async def test_who_never_reads_skips_to_the_newest(server: Server, api: Api, owner: Person) -> None:
    options = [{"label": f"{number} " + "x" * 190} for number in range(100)]
    poll = await api.poll(owner, guests=True, allowChange=True, options=options)
    ids = option_ids(poll)
    voter = await api.guest()
    async with engine(server, max_queue=1) as client, engine(server) as prompt:
        for each in (client, prompt):
            await each.send(f'42["join_poll",{{"pollId":"{poll["id"]}"}}]')
            assert (await each.next())[0] == "poll_state"
        client.connection.transport.pause_reading()
        last = 0
        for number in range(60):
            answer = (await api.vote(voter, poll["id"], [ids[number]], id=f"n{number}")).fresh()
            last = int(answer["seq"])
            await api.edit(owner, poll, question=f"Number {number}?")
        last += 1
        client.connection.transport.resume_reading()
        seen: list[int] = []
        while not seen or seen[-1] < last:
            _, message = await client.next()
            seen.append(message["tally"]["seq"])
        assert seen == sorted(seen)
        assert len(seen) < 60


async def test_who_asks_and_never_reads_is_dropped(server: Server, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, options=[f"{number} " + "y" * 190 for number in range(100)])
    async with polling(server) as session:
        body = "\x1e".join([f'42["join_poll",{{"pollId":"{poll["id"]}"}}]'] * 50)
        await session.post(body)  # 50 states of 30 KB, and nobody fetches them

        async def gone() -> bool:
            return (await session.post("3")).status_code == 400

        await eventually(gone, bool, 10, "the end of the session")


async def test_a_websocket_that_asks_and_never_reads_is_dropped(
    server: Server, ws: Open, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, options=[f"{number} " + "y" * 190 for number in range(100)])
    join = f'42["join_poll",{{"pollId":"{poll["id"]}"}}]'
    async with ws() as raw, engine(server, max_queue=1) as client:
        await raw.join(poll)
        await client.send(join)
        await raw.viewers(poll, 2)
        client.connection.transport.pause_reading()
        for _ in range(90):
            await client.send(join)
        await raw.viewers(poll, 1)
        await asyncio.wait_for(_hung_up(client.connection.transport), 10)


async def _hung_up(transport: asyncio.WriteTransport) -> None:
    """Until the peer of a connection that is not read has gone: writing to it fails."""
    while not transport.is_closing():
        transport.write(b"\x8a\x80\0\0\0\0")  # a pong nobody asked for
        await asyncio.sleep(0.05)


async def test_a_silent_client_is_dropped(where: Target, tmp_path: Path) -> None:
    with serving(tmp_path, where.settings | ON | {"PING_INTERVAL": "2"}) as server:
        async with Api(server) as api, socket(server) as raw:
            poll = await api.poll(await api.user())
            await raw.join(poll)
            async with polling(server) as session:
                await session.post(f'42["join_poll",{{"pollId":"{poll["id"]}"}}]')
                await raw.expect("POLL_UPDATE", viewers=2)
                await raw.viewers(poll, 1, timeout=15)  # it never answers the ping


async def test_an_engine_without_a_handshake_does_not_stay(server: Server) -> None:
    url = server.url().replace("http", "ws", 1) + PATH + "websocket"
    async with connect(url, ping_interval=None) as silent:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(20):
                while True:
                    await silent.recv()


async def test_a_stopping_server_lets_clients_go_and_they_come_back(
    library: str, where: Target, tmp_path: Path, transports: Transports
) -> None:
    server = Server(tmp_path, where.settings | ON).start()
    try:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner, guests=True)
            voter = await api.guest()
            async with connected(library, server, voter, transports=transports) as client:
                await client.join(poll)
                first = await client.vote(poll["id"], option_ids(poll)[:1], id="a")
                mark = client.mark()
                await asyncio.to_thread(server.stop)
                await client.hears("disconnect", mark)
                await asyncio.to_thread(server.start)
                await client.hears("connect", mark, timeout=20)
                (await client.vote(poll["id"], option_ids(poll)[:1], id="a")).repeats(first)
                assert (await client.join(poll))["tally"]["voters"] == 1
    finally:
        await asyncio.to_thread(server.stop)


async def test_off_is_not_there(where: Target, tmp_path: Path) -> None:
    with serving(tmp_path, where.settings) as server:
        async with httpx.AsyncClient(trust_env=False) as http:
            response = await http.get(server.url() + PATH + "polling")
            assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


async def test_a_second_or_a_failed_upgrade_disturbs_nobody(server: Server) -> None:
    async with polling(server) as session:
        url = session.url.replace("http", "ws", 1).replace("transport=polling", "transport=websocket")
        async with connect(url, ping_interval=None) as failing:
            await failing.send("hello")
        await session.post('42["leave_poll",{"pollId":"x"}]')

        async def left() -> bool:
            return (await session.packets())[0].startswith('42["left_poll"')

        await eventually(left, bool, 5, "an answer by polling")
        async with connect(url, ping_interval=None) as upgraded:
            await upgraded.send("2probe")
            assert await upgraded.recv() == "3probe"
            with pytest.raises(Exception, match="403"):
                async with connect(url, ping_interval=None):
                    pass
            await upgraded.send("5")
            await upgraded.send('42["leave_poll",{"pollId":"x"}]')
            while (frame := await upgraded.recv()) == "6":  # for a poll that is none
                pass
            assert str(frame).startswith('42["left_poll"')
