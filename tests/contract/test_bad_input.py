"""Bad input gets its code on both transports, nothing is lost by it, and a socket lives on unless the contract closes it."""

import asyncio
import json
import random
from typing import Any

import pytest

from tools.harness.http import Api, Person, names_field, ok, problem
from tools.harness.shapes import option_ids

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
NESTED = "[" * 200 + "]" * 200
HUGE = "1" + "0" * 400
THIRTY = "123456789012345678901234567890"

NO_MESSAGE = {
    "empty": "",
    "blank": "  ",
    "not JSON": "{",
    "words": "hello",
    "single quotes": "{'type':'PING'}",
    "trailing comma": '{"type":"PING",}',
    "rest behind": '{"type":"PING"} {}',
    "two": '{"type":"PING"}{"type":"PING"}',
    "comment": '{"type":"PING"}//',
    "null": "null",
    "true": "true",
    "number": "5",
    "huge number": HUGE,
    "NaN": "NaN",
    "NaN within": '{"type":"PING","id":NaN}',
    "Infinity within": '{"type":"PING","id":-Infinity}',
    "text": '"PING"',
    "array": "[]",
    "array of one": '[{"type":"PING"}]',
    "200 levels": NESTED,
    "2000 levels": "[" * 2000 + "]" * 2000,
    "open levels": "[" * 4000,
    "object levels": '{"a":' * 600 + "1" + "}" * 600,
    "raw newline in text": '{"type":"PI\nNG"}',
    "no type": "{}",
    "another's type": '{"kind":"PING"}',
    "type null": '{"type":null}',
    "type number": '{"type":5}',
    "type list": '{"type":["PING"]}',
    "type object": '{"type":{"a":1}}',
    "type bool": '{"type":true}',
}


@pytest.mark.parametrize("kind", NO_MESSAGE)
async def test_what_is_no_message_is_bad_message_and_the_socket_lives_on(ws: Any, kind: str) -> None:
    async with ws() as sock:
        await sock.send_text(NO_MESSAGE[kind])
        error = await sock.expect("ERROR")
        assert error["code"] == "BAD_MESSAGE"
        assert error["message"]
        await sock.settle()
        assert len(sock.since(0, "ERROR")) == 1


@pytest.mark.parametrize("name", ["", "ping", "PING ", "WELCOME", "POLL_STATE", "x" * 3000, "💥"], ids=repr)
async def test_an_unknown_type_is_told(ws: Any, name: str) -> None:
    async with ws() as sock:
        await sock.send({"type": name})
        assert (await sock.expect("ERROR"))["code"] == "UNKNOWN_TYPE"
        await sock.settle()


WRONG_FIELDS = [
    ('{"type":"PING","x":1}', "x"),
    ('{"type":"PING","serverTime":"x"}', "serverTime"),
    ('{"type":"AUTH"}', "token"),
    ('{"type":"AUTH","token":null}', "token"),
    ('{"type":"AUTH","token":5}', "token"),
    ('{"type":"AUTH","token":["x"]}', "token"),
    ('{"type":"AUTH","token":"x","user":"y"}', "user"),
    ('{"type":"JOIN_POLL","pollId":5}', "pollId"),
    ('{"type":"JOIN_POLL","pollId":["x"]}', "pollId"),
    ('{"type":"JOIN_POLL","pollid":"x"}', "pollid"),
    ('{"type":"JOIN_POLL","code":' + THIRTY + "}", "code"),
    ('{"type":"LEAVE_POLL"}', "pollId"),
    ('{"type":"LEAVE_POLL","pollId":null}', "pollId"),
    ('{"type":"LEAVE_POLL","pollId":{}}', "pollId"),
    ('{"type":"RETRACT_VOTE"}', "pollId"),
    ('{"type":"RETRACT_VOTE","pollId":"x","optionIds":[]}', "optionIds"),
    ('{"type":"VOTE","optionIds":["x"]}', "pollId"),
    ('{"type":"VOTE","pollId":5,"optionIds":["x"]}', "pollId"),
    ('{"type":"VOTE","pollId":"x","optionIds":"x"}', "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":[5]}', "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":[' + HUGE + "]}", "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":[' + THIRTY + "]}", "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":' + NESTED + "}", "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":[["x"]]}', "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionIds":["x","x"]}', "optionIds"),
    ('{"type":"VOTE","pollId":"x","optionId":7}', "optionId"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","id":' + HUGE + "}", "id"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","id":1e400}', "id"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","id":' + NESTED + "}", "id"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","id":"\\u0000"}', "id"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","id":"\\ud800"}', "id"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","optoinIds":[]}', "optoinIds"),
    ('{"type":"VOTE","pollId":"x","optionId":"x","\\ud800":1}', ""),
    ('{"type":"VOTE","pollId":"x","optionId":"\\udc00"}', ""),
]


@pytest.mark.parametrize(("text", "field"), WRONG_FIELDS, ids=lambda value: value[:60].replace("\\", "/"))
async def test_a_wrong_field_of_a_message_is_named_and_the_socket_lives_on(
    ws: Any, guest: Person, text: str, field: str
) -> None:
    async with ws(guest) as sock:
        await sock.send_text(text)
        error = await sock.expect("ERROR")
        assert error["code"] == "VALIDATION_FAILED"
        assert not field or names_field(error["fields"], field), error
        assert "id" not in error
        await sock.settle()


NO_BODY = {
    name: text
    for name, text in NO_MESSAGE.items()
    if not name.startswith(("no type", "another's", "type"))
    and name not in ("blank", "comment", "object levels")
}


@pytest.mark.parametrize("kind", NO_BODY)
async def test_what_is_no_json_object_is_bad_message_over_http(api: Api, owner: Person, kind: str) -> None:
    content = NO_BODY[kind].encode()
    for method, path in (
        ("POST", "/polls"),
        ("POST", "/auth/register"),
        ("POST", "/auth/login"),
        ("POST", "/auth/refresh"),
    ):
        problem(await api.call(method, path, None, owner, content=content, headers=JSON), "BAD_MESSAGE")


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b'{"a":NaN}', b"\xff\xfe", NESTED.encode()], ids=repr)
async def test_a_ballot_or_edit_that_is_no_json_object_is_bad_message(
    api: Api, owner: Person, content: bytes
) -> None:
    poll = await api.poll(owner)
    for method, path in (("PATCH", f"/polls/{poll['id']}"), ("POST", f"/polls/{poll['id']}/votes")):
        problem(await api.call(method, path, None, owner, content=content, headers=JSON), "BAD_MESSAGE")


@pytest.mark.parametrize(
    "content",
    [
        b'{"question":"\xff","options":["a","b"]}',
        b'{"question":"\xed\xa0\x80","options":["a","b"]}',
        b"\xc3(",
    ],
    ids=repr,
)
async def test_a_body_that_is_not_utf_8_is_bad_message(api: Api, owner: Person, content: bytes) -> None:
    problem(await api.post("/polls", None, owner, content=content, headers=JSON), "BAD_MESSAGE")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("question", '"\\ud800"'),
        ("question", '"a\\udc00b"'),
        ("question", '"\\u0000"'),
        ("question", HUGE),
        ("question", NESTED),
        ("description", '"x\\ud83d"'),
        ("options", '["a","\\ud800"]'),
        ("options", NESTED),
        ("minChoices", HUGE),
        ("minChoices", "-" + HUGE),
        ("minChoices", THIRTY),
        ("minChoices", "1e400"),
        ("minChoices", "0.5"),
        ("maxChoices", "9223372036854775808"),
        ("allowChange", NESTED),
        ("opensAt", THIRTY),
        ("closesAt", '"9999999999-01-01T00:00:00Z"'),
        ("closesAt", '"2099-02-30T00:00:00Z"'),
        ("closesAt", '"2099-01-01T25:00:00Z"'),
        ("closesAt", '"2099-01-01T00:00:00+99:99"'),
        ("closesAt", "-1"),
    ],
    ids=lambda value: value[:20].replace("\\", "/"),
)
async def test_a_value_that_json_can_say_and_a_poll_cannot_is_named(
    api: Api, owner: Person, field: str, text: str
) -> None:
    values = {"question": '"Q"', "options": '["a","b"]'} | {field: text}
    content = "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"
    problem(
        await api.post("/polls", None, owner, content=content.encode(), headers=JSON),
        "VALIDATION_FAILED",
        field,
    )


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z",
                                "9999-12-31T23:59:59-12:00"])  # fmt: skip
async def test_times_at_the_ends_of_the_calendar_are_answered(api: Api, owner: Person, at: str) -> None:
    response = await api.post("/polls", {"question": "Q", "options": ["a", "b"], "opensAt": at}, owner)
    if response.status_code != 201:
        problem(response, "VALIDATION_FAILED", "opensAt")
    else:
        ok(await api.get(f"/polls/{response.json()['poll']['id']}"))


# At random ------------------------------------------------------------------------------------------------------


def anything(rng: random.Random, depth: int = 0) -> Any:
    scalars: list[Any] = [
        None, True, 0, -1, 1.5, 10**25, "", "x", "\0", "\ud800", "💥", "x" * 400, "2099-01-01T00:00:00Z",
    ]  # fmt: skip
    pick = rng.random()
    if depth > 3 or pick < 0.6:
        return rng.choice(scalars)
    if pick < 0.8:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {rng.choice(["label", "id", "x", ""]): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


async def test_random_bodies_never_end_in_a_5xx(api: Api, owner: Person) -> None:
    rng = random.Random(20)
    poll = await api.poll(owner)
    names = ["question", "description", "options", "minChoices", "maxChoices", "resultsVisibility", "allowChange",
             "guests", "opensAt", "closesAt", "draft", "optionIds", "optionId", "id", "email", "password", "name",
             "refreshToken"]  # fmt: skip
    targets = [("POST", "/polls"), ("PATCH", f"/polls/{poll['id']}"), ("POST", f"/polls/{poll['id']}/votes"),
               ("POST", "/auth/register"), ("POST", "/auth/login"), ("POST", "/auth/refresh"),
               ("POST", "/auth/guest")]  # fmt: skip
    calls = []
    for _ in range(150):
        method, path = rng.choice(targets)
        body = {"question": "Q", "options": ["a", "b"]} if path == "/polls" else {}
        body |= {name: anything(rng) for name in rng.sample(names, rng.randrange(1, 4))}
        calls.append(api.call(method, path, None, owner, content=json.dumps(body).encode(), headers=JSON))
    for start in range(0, len(calls), 15):
        await asyncio.gather(*calls[start : start + 15])
    assert (await api.state(poll))["poll"]["status"] in ("open", "closed")


async def test_random_messages_never_kill_a_socket(api: Api, owner: Person, guest: Person, ws: Any) -> None:
    rng = random.Random(21)
    poll = await api.poll(owner, guests=True)
    kinds = ["JOIN_POLL", "LEAVE_POLL", "VOTE", "RETRACT_VOTE", "PING", "NO_SUCH_TYPE", None, 5]
    names = ["pollId", "code", "optionIds", "optionId", "id", "x"]
    async with ws(guest) as sock:
        for _ in range(200):
            message: dict[str, Any] = {"type": rng.choice(kinds)}
            message |= {name: anything(rng) for name in rng.sample(names, rng.randrange(4))}
            if rng.random() < 0.5:
                message["pollId"] = poll["id"]
            text = json.dumps(message)
            cut = text[: rng.randrange(len(text))] if rng.random() < 0.2 else text
            if len(cut.encode()) <= 4096:
                await sock.send_text(cut)
        await sock.settle()
        assert not {frame["code"] for frame in sock.since(0, "ERROR")} & {"INTERNAL", "UNAVAILABLE"}
        (await sock.vote(poll["id"], option_ids(poll)[:1], id="still-works")).fresh()
