"""What no client of the library would send, too: each has its code, and the connection lives on."""

import json
from typing import Any

import httpx
import pytest

from tests.conftest import Open
from tests.socketio.conftest import Connect
from tests.socketio.engine import PATH, engine, polling
from tools.harness.http import Api, Person
from tools.harness.process import Server
from tools.harness.shapes import option_ids

DEEP = "[" * 1500
BAD: list[tuple[str, str]] = [
    ('42["vote",' + DEEP, "BAD_MESSAGE"),
    ('42["vote",' + DEEP + "]" * 1500 + "]", "BAD_MESSAGE"),
    ('42["vote",{"pollId":NaN}]', "BAD_MESSAGE"),
    ('42["vote",{"pollId":"x","optionId":"y"},1]', "BAD_MESSAGE"),
    ('42["vote",5]', "BAD_MESSAGE"),
    ('42["vote",null]', "BAD_MESSAGE"),
    ('42[["vote"],{}]', "BAD_MESSAGE"),
    ("42[]", "BAD_MESSAGE"),
    ('42{"vote":1}', "BAD_MESSAGE"),
    ('42"vote"', "BAD_MESSAGE"),
    ("42", "BAD_MESSAGE"),
    ('42["connect",{}]', "UNKNOWN_TYPE"),
    ('42["disconnect",{}]', "UNKNOWN_TYPE"),
    ('42["message",{}]', "UNKNOWN_TYPE"),
    ('42["*",{}]', "UNKNOWN_TYPE"),
    ('42["VOTE",{}]', "UNKNOWN_TYPE"),
    ('42["ping",{}]', "UNKNOWN_TYPE"),
    ('42["vote"]', "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x","optionId":"y","extra":1}]', "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x","optionId":1' + "0" * 30 + "}]", "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x","optionId":1e400}]', "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x\\u0000","optionId":"y"}]', "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x\\ud800","optionId":"y"}]', "VALIDATION_FAILED"),
    ('42["vote",{"pollId":"x","optionId":"y","type":"JOIN_POLL"}]', "VALIDATION_FAILED"),
    ('42["join_poll",{"pollId":"x","code":"y"}]', "VALIDATION_FAILED"),
    ('42["join_poll",{"pollId":"' + "x" * 200 + '"}]', "NOT_FOUND"),
    ('42["vote",{"pollId":"x","optionId":"y"}]', "UNAUTHENTICATED"),
    ('43["an answer to nothing"]', "BAD_MESSAGE"),
    ('4312["an answer to nothing"]', "BAD_MESSAGE"),
    ('461-["an answer to nothing"]', "BAD_MESSAGE"),
    ('451-["vote",{"_placeholder":true,"num":0}]', "BAD_MESSAGE"),
    ("49", "BAD_MESSAGE"),
    ("4", "BAD_MESSAGE"),
    ("", "BAD_MESSAGE"),
    ("hello", "BAD_MESSAGE"),
    ("4" + DEEP, "BAD_MESSAGE"),
    ("3" + DEEP, "BAD_MESSAGE"),
    ('0{"sid":"x"}', "BAD_MESSAGE"),
    ("bAAAA", "BAD_MESSAGE"),
    ("b???", "BAD_MESSAGE"),
]


async def test_every_bad_frame_has_its_code_and_the_connection_lives_on(server: Server) -> None:
    async with engine(server) as client:
        for frame, code in BAD:
            await client.send(frame)
            assert await client.error() == code, frame[:80]
        await client.send(b"\x00\x01")
        assert await client.error() == "BAD_MESSAGE"
        await client.alive()


async def test_by_polling_they_have_the_same(server: Server) -> None:
    async with polling(server) as session:
        for start in range(0, len(BAD), 20):
            part = BAD[start : start + 20]
            assert (await session.post("\x1e".join(frame for frame, _ in part))).status_code == 200
            assert await session.errors(len(part)) == [code for _, code in part]
        assert (await session.post(b"\xff\xfe")).status_code == 200
        assert await session.errors(1) == ["BAD_MESSAGE"]
        large = '42["leave_poll",{"pollId":"' + "x" * 5000 + '"}]'
        assert (await session.post(large)).status_code == 200
        assert await session.errors(1) == ["TOO_LARGE"]
        assert (await session.post("x" * 70_000)).status_code == 413
        assert (await session.post("")).status_code == 200
        assert await session.errors(1) == ["BAD_MESSAGE"]


async def test_a_callback_gets_the_error_with_what_the_message_named(sio: Connect, api: Api) -> None:
    async with sio(await api.guest()) as client:
        unknown = {"pollId": "nothing", "optionId": "y", "id": "b1"}
        error = await client.refused("NOT_FOUND", "vote", unknown)
        assert (error["id"], error["pollId"]) == ("b1", "nothing")
        error = await client.refused("VALIDATION_FAILED", "vote", unknown | {"more": 1})
        assert error["id"] == "b1" and "more" in error["fields"]
        assert (await client.refused("UNKNOWN_TYPE", "votes", {"id": "b2"}))["id"] == "b2"
        assert not [news for news in client.news if news.get("event") == "error"]


async def test_codes_are_those_of_raw_sockets(sio: Connect, ws: Open, api: Api, owner: Person) -> None:
    poll, draft = await api.poll(owner, guests=True), await api.poll(owner, draft=True)
    private = await api.poll(owner)
    tea = option_ids(poll)[0]
    person = await api.guest()
    tries: list[dict[str, Any]] = [
        {"pollId": poll["id"], "optionIds": [tea, tea]},
        {"pollId": poll["id"], "optionIds": []},
        {"pollId": poll["id"], "optionIds": ["elsewhere"]},
        {"pollId": poll["id"]},
        {"pollId": draft["id"], "optionId": tea},
        {"pollId": private["id"], "optionId": option_ids(private)[0]},
        {"pollId": poll["id"], "optionId": tea, "id": "bad id"},
        {"pollId": poll["id"], "optionId": tea, "id": "good"},
        {"pollId": poll["id"], "optionId": tea, "id": "second"},
    ]
    async with sio(person) as client, ws(await api.guest()) as raw:
        for body in tries:
            answer = await client.ask("vote", body)
            await raw.send({"type": "VOTE"} | body)
            shown = await raw.either("ERROR", "VOTE_ACCEPTED")
            if answer["type"] == "ERROR":
                assert answer == shown
            else:
                assert (answer["type"], answer["optionIds"]) == (shown["type"], shown["optionIds"])


async def test_other_namespaces_are_not_there(server: Server) -> None:
    async with engine(server) as client:
        await client.send("40/admin,")
        assert str(await client.connection.recv()).startswith("44/admin,")
        await client.send("40")  # a second time
        assert str(await client.connection.recv()).startswith("44")
        await client.send('42/admin,["vote",{}]')
        await client.alive()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/socket.io/?EIO=3&transport=polling", 400),
        ("/socket.io/?EIO=4&transport=carrier-pigeon", 400),
        ("/socket.io/?EIO=4&transport=polling&j=0", 400),
        ("/socket.io/?EIO=4&transport=polling&sid=unknown", 400),
        ("/socket.io/?EIO=4&transport=websocket", 400),
    ],
)
async def test_a_bad_request_is_the_clients_fault(server: Server, path: str, status: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(server.url() + path)).status_code == status


async def test_origins_are_those_of_raw_sockets(server: Server) -> None:
    foreign, own = {"Origin": "https://evil.example"}, {"Origin": server.url()}
    async with httpx.AsyncClient(trust_env=False) as http:
        url = server.url() + PATH + "polling"
        refused = await http.get(url, headers=foreign)
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers
        taken = await http.get(url, headers=own)
        assert taken.status_code == 200
        assert taken.headers.get_list("access-control-allow-origin") == [server.url()]
        assert json.loads(taken.text[1:])["upgrades"] == ["websocket"]
    with pytest.raises(Exception, match="403"):
        async with engine(server, origin="https://evil.example"):
            pass
    async with engine(server, origin=server.url()) as client:
        await client.alive()
