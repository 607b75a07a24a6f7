"""What is refused is answered alike on every transport: with its ``id`` if that can be read, and a limit on nesting."""

from pathlib import Path

import pytest

from tools.harness.http import Api, Person, problem
from tools.harness.process import Server, serving
from tools.harness.websocket import Frame, Socket, socket

pytestmark = pytest.mark.anyio


def nested(levels: int) -> str:
    """JSON of ``levels`` levels."""
    return "[" * levels + "]" * levels


REFUSED = {
    "lone surrogate in another field": ('{"type":"VOTE","id":"a1","pollId":"\\ud800","optionId":"o"}', "VALIDATION_FAILED"),
    "lone surrogate before the id": ('{"pollId":"\\udfff","type":"LEAVE_POLL","id":"a1"}', "VALIDATION_FAILED"),
    "lone surrogate in an unknown field": ('{"type":"PING","id":"a1","x":["\\ud800"]}', "VALIDATION_FAILED"),
    "lone surrogate as a name": ('{"type":"PING","id":"a1","\\ud800":1}', "VALIDATION_FAILED"),
    "lone surrogate in an unknown type": ('{"type":"\\ud800","id":"a1"}', "UNKNOWN_TYPE"),
    "NUL in another field": ('{"type":"AUTH","id":"a1","token":"\\u0000"}', "VALIDATION_FAILED"),
    "a number out of range": ('{"type":"PING","id":"a1","x":1e999}', "VALIDATION_FAILED"),
    "a number of 400 digits": ('{"type":"PING","id":"a1","x":' + "9" * 400 + "}", "VALIDATION_FAILED"),
    "no type": ('{"id":"a1"}', "BAD_MESSAGE"),
    "a type that is no string": ('{"type":1,"id":"a1"}', "BAD_MESSAGE"),
    "an unknown type": ('{"type":"X","id":"a1"}', "UNKNOWN_TYPE"),
    "64 levels": ('{"type":"PING","id":"a1","x":' + nested(63) + "}", "VALIDATION_FAILED"),
    "65 levels": ('{"type":"PING","id":"a1","x":' + nested(64) + "}", "VALIDATION_FAILED"),
    "65 levels before the id": ('{"x":' + nested(64) + ',"type":"PING","id":"a1"}', "VALIDATION_FAILED"),
    "1900 levels": ('{"type":"PING","id":"a1","x":' + nested(1900) + "}", "VALIDATION_FAILED"),
    "65 levels of an unknown type": ('{"type":"X","id":"a1","x":' + nested(64) + "}", "UNKNOWN_TYPE"),
    "brackets in a string": ('{"type":"PING","id":"a1","x":"' + "[" * 100 + '"}', "VALIDATION_FAILED"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_an_error_repeats_the_id_of_what_was_refused(server: Server, name: str) -> None:
    text, code = REFUSED[name]
    async with socket(server) as ws:
        await ws.send_text(text)
        error = await ws.expect("ERROR")
        assert (error["code"], error.get("id")) == (code, "a1"), error
        await ws.settle()


@pytest.mark.parametrize("levels", [64, 65, 900, 30_000])
async def test_too_deep_a_value_is_named_over_http_too(api: Api, owner: Person, levels: int) -> None:
    body = f'{{"question":{nested(levels - 1)},"options":["a","b"]}}'
    answer = await api.call(
        "POST", "/polls", None, owner, content=body, headers={"content-type": "application/json"}
    )
    fields = problem(answer, "VALIDATION_FAILED", "question")["fields"]
    assert ("too deep" in fields["question"]) == (levels > 64)


async def test_an_auth_in_many_rooms_costs_as_much_as_joining_them(tmp_path: Path) -> None:
    """Every room's state is sent anew: so many messages are taken from the rate limit, which goes into debt."""
    with serving(tmp_path, {"MESSAGE_RATE": "50"}) as server:
        async with Api(server) as api:
            person = await api.user()
            polls = [await api.poll(person) for _ in range(60)]
            async with socket(server, person) as ws:
                for poll in polls:
                    await ws.join(poll)
                for _ in range(20):
                    await ws.send({"type": "AUTH", "id": "a1", "token": person.token})
                await ws.until(lambda: None if len(answers(ws)) < 20 else True, "20 answers", 20)
                refused = [frame for frame in answers(ws) if frame["type"] == "ERROR"]
                assert len(refused) >= 15, len(refused)
                assert all(frame["code"] == "RATE_LIMITED" and frame["id"] == "a1" for frame in refused)
                assert ws.is_open


def answers(ws: Socket) -> list[Frame]:
    """To ``AUTH``, but for the one of the upgrade."""
    return [frame for frame in ws.frames if frame["type"] in ("AUTHENTICATED", "ERROR")][1:]
