"""``/metrics``, ``/openapi.json``, ``/asyncapi.json`` and ``/docs``."""

import re
from typing import Any

import httpx
import jsonschema
import pytest

from tests.conftest import Open
from tools.harness.http import Api, Person, ok
from tools.harness.process import Server
from tools.harness.shapes import STATUS

pytestmark = pytest.mark.anyio

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NO_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10}")
SAMPLE = re.compile(r'(\w+)(?:\{((?:\w+="[^"]*",?)*)\})? ([0-9.e+-]+|NaN|\+Inf)')


async def figures(api: Api, server: Server) -> dict[tuple[str, str], float]:
    """``(name, labels) -> value``, over all instances added up."""
    found: dict[tuple[str, str], float] = {}
    for url in {server.url() for _ in range(8)}:
        answer = await api.get("/metrics", base=url)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert not NO_TOKEN.search(answer.text)
        for line in answer.text.splitlines():
            if not line.startswith("#"):
                sample = SAMPLE.fullmatch(line)
                assert sample, line
                place = (sample[1], sample[2] or "")
                found[place] = found.get(place, 0.0) + float(sample[3])
    return found


def holds(document: Any, schema: dict[str, Any], value: Any) -> None:
    """``value`` is what the schema of the document says."""
    jsonschema.validate(value, {**schema, "components": document["components"]})


def answer_schema(document: Any, method: str, path: str, response: httpx.Response) -> dict[str, Any]:
    answers = document["paths"][path][method.lower()]["responses"]
    content = answers[str(response.status_code)]["content"]
    found: dict[str, Any] = content[response.headers["content-type"].split(";")[0]]["schema"]
    return found


async def test_metrics_count_votes_by_answer_and_sockets_without_naming_anybody(
    api: Api, owner: Person, guest: Person, ws: Open, server: Server
) -> None:
    before = await figures(api, server)
    poll = await api.poll(owner, guests=True)
    option = poll["options"][0]["id"]
    async with ws(guest.token) as socket:
        await socket.join(poll)
        for _ in range(2):
            await api.call("POST", f"/polls/{poll['id']}/votes", {"optionId": option, "id": "a"}, guest)
        refused = await api.call("POST", f"/polls/{poll['id']}/votes", {"optionId": option, "id": "b"}, guest)
        assert refused.json()["code"] == "ALREADY_VOTED"
        await socket.shows(poll, voters=1)
        after = await figures(api, server)

    def more(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0.0)

    assert more("pollroom_votes_total", 'answer="accepted"') == 1
    assert more("pollroom_votes_total", 'answer="repeated"') == 1
    assert more("pollroom_votes_refused_total", 'code="ALREADY_VOTED"') == 1
    assert more("pollroom_batch_ballots_sum") == 3
    assert 1 <= more("pollroom_batch_ballots_count") <= 3
    assert more("pollroom_deliveries_total", 'type="POLL_UPDATE"') >= 1
    assert after["pollroom_sockets", ""] >= 1
    assert after["pollroom_feeds", ""] >= 1
    assert after["pollroom_ballots_waiting", ""] == 0
    assert after["pollroom_status", 'status="ready"'] >= 1
    assert after["pollroom_check", 'check="sql"'] >= 1
    assert after["pollroom_log_entries", ""] >= 0
    assert after["process_cpu_seconds_total", ""] > 0
    assert after["process_resident_memory_bytes", ""] > 10e6
    text = (await api.get("/metrics")).text
    for secret in (poll["id"], poll["code"], option, guest.id, owner.id, poll["question"]):
        assert secret not in text


async def test_openapi_has_exactly_the_methods_that_are_served(api: Api) -> None:
    document = ok(await api.get("/openapi.json"))
    assert document["openapi"].startswith("3.1.")
    for path, operations in document["paths"].items():
        real = re.sub(r"\{\w+\}", "x", path)
        for method in METHODS:
            answer = await api.call(method, real)
            missing = answer.status_code == 405
            assert missing == (method.lower() not in operations), (method, path)
            if missing:
                allowed = set(answer.headers["allow"].split(", ")) - {"HEAD"}
                assert allowed == {name.upper() for name in operations}


async def test_openapi_describes_what_calls_answer(api: Api, owner: Person) -> None:
    document = ok(await api.get("/openapi.json"))
    made = await api.call("POST", "/polls", {"question": "Tea?", "options": ["yes", "no"]}, owner)
    poll = made.json()["poll"]
    vote = {"optionId": poll["options"][0]["id"]}
    calls = [
        ("POST", "/polls", "/polls", made),
        ("GET", "/polls", "/polls", await api.get("/polls", owner)),
        ("POST", "/polls", "/polls", await api.call("POST", "/polls", {}, owner)),
        ("POST", "/polls", "/polls", await api.call("POST", "/polls", {})),
        ("GET", "/polls/{pollId}", "", await api.get(f"/polls/{poll['id']}", owner)),
        ("GET", "/polls/{pollId}", "", await api.get("/polls/none")),
        (
            "POST",
            "/polls/{pollId}/votes",
            "",
            await api.call("POST", f"/polls/{poll['id']}/votes", vote, owner),
        ),
        ("GET", "/polls/{pollId}/results", "", await api.get(f"/polls/{poll['id']}/results")),
        ("POST", "/auth/guest", "", await api.call("POST", "/auth/guest")),
        ("GET", "/auth/me", "", await api.get("/auth/me", owner)),
        ("GET", "/healthz", "", await api.get("/healthz")),
        ("GET", "/readyz", "", await api.get("/readyz")),
        ("GET", "/ws", "", await api.get("/ws")),
    ]
    for method, path, _, answer in calls:
        holds(document, answer_schema(document, method, path, answer), answer.json())
    body = document["paths"]["/polls"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    with pytest.raises(jsonschema.ValidationError):
        holds(document, body, {"question": "Tea?", "options": ["yes", "no"], "maxChoice": 1})


async def test_openapi_names_every_code_and_every_token(api: Api) -> None:
    document = ok(await api.get("/openapi.json"))
    assert set(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == set(STATUS)
    calls = [call for operations in document["paths"].values() for call in operations.values()]
    named = set()
    for call in calls:
        for status, answer in call["responses"].items():
            content = answer.get("content", {}).get("application/problem+json")
            if content:
                codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                assert {STATUS[code] for code in codes} == {int(status)}
                named.update(codes)
    assert named == set(STATUS) - {"UNKNOWN_TYPE", "METHOD_NOT_ALLOWED"}
    assert len({call["operationId"] for call in calls}) == len(calls)


async def test_calls_that_need_a_token_say_so(api: Api) -> None:
    document = ok(await api.get("/openapi.json"))
    for path, operations in document["paths"].items():
        for method, call in operations.items():
            body = call.get("requestBody", {}).get("content", {})
            content = "{}" if "application/json" in body else None
            headers = {"content-type": "application/json"} if content else {}
            real = re.sub(r"\{\w+\}", "x", path)
            answer = await api.call(method, real, headers=headers, content=content)
            if call["security"] == [{"bearer": []}] and not path.endswith("/votes"):
                assert answer.json()["code"] == "UNAUTHENTICATED", (method, path)
            else:
                assert answer.status_code != 401, (method, path)


async def test_asyncapi_describes_what_sockets_say(api: Api, owner: Person, guest: Person, ws: Open) -> None:
    document = ok(await api.get("/asyncapi.json"))
    assert document["asyncapi"] == "3.0.0"
    poll = await api.poll(owner, guests=True, allowChange=True)
    async with ws(guest) as socket:
        await socket.join(poll)
        await socket.vote(poll["id"], [poll["options"][0]["id"]], id="a")
        await socket.shows(poll, voters=1)
        await socket.retract(poll["id"])
        await socket.vote(poll["id"], ["none"])
        await socket.settle()
        await api.edit(owner, poll, question="Changed?")
        await socket.expect("POLL_CHANGED")
        await api.delete(f"/polls/{poll['id']}", owner)
        await socket.expect("POLL_DELETED")
        await socket.leave(poll)
        shown = await api.poll(owner, draft=True)
        deck = ok(await api.post("/decks", {"title": "?", "pollIds": [shown["id"]]}, owner), 201)["deck"]
        await socket.join_deck(deck)
        async with ws(owner) as other:
            await other.join_deck(deck)
            await socket.expect("DECK_UPDATE", viewers=2)
        move = {"pollId": shown["id"], "version": deck["version"]}
        ok(await api.post(f"/decks/{deck['id']}/current", move, owner))
        await socket.expect("DECK_CHANGED")
        await socket.send({"type": "LEAVE_DECK", "deckId": deck["id"]})
        await socket.expect("LEFT_DECK")
        await socket.join_deck(deck)
        ok(await api.delete(f"/decks/{deck['id']}", owner), 204)
        await socket.expect("DECK_DELETED")
        said = socket.since(0)
    messages = document["components"]["messages"]
    for frame in said:
        holds(document, messages[frame["type"]]["payload"], frame)
    sent = {name for name, of in document["operations"].items() if of["action"] == "receive"}
    assert sent == {
        "AUTH", "JOIN_POLL", "LEAVE_POLL", "JOIN_DECK", "LEAVE_DECK", "VOTE", "RETRACT_VOTE", "PING",
    }  # fmt: skip
    assert set(messages) - sent == {frame["type"] for frame in said}
    for name in sent:
        with pytest.raises(jsonschema.ValidationError):
            holds(document, messages[name]["payload"], {"type": name, "token": "", "pollId": "", "more": 1})
    for code in ("1003", "1007", "1009", "1012", "4401", "4408", "4429", "4503"):
        assert f"- {code}: " in document["channels"]["ws"]["description"]


async def test_docs_are_a_page_that_loads_and_runs_nothing(api: Api) -> None:
    answer = await api.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert not re.search(r'(src|href)="(https?:)?//|url\(|@import', answer.text)
    for part in ("/polls/{pollId}/votes", "VOTE_ACCEPTED", "JOIN_POLL", "BALLOT_ID_REUSED"):
        assert part in answer.text
    ids = set(re.findall(r'id="([^"]+)"', answer.text))
    assert set(re.findall(r'href="#([^"]+)"', answer.text)) <= ids
