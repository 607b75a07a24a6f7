"""Section "Text": what is normalized, what is refused, and every wrong field at once."""

import json
import secrets

import pytest

from tools.harness.http import Api, Person, ok, problem

pytestmark = pytest.mark.anyio

FLAG_OF_SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
FLAG_OF_WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f466"


async def test_text_is_composed_before_it_is_counted(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, question="e\u0301" * 300, options=["n\u0303", "b"])
    assert poll["question"] == "\u00e9" * 300
    assert poll["options"][0]["label"] == "\u00f1"


async def test_tabs_and_line_ends_are_made_alike(api: Api, owner: Person) -> None:
    poll = await api.poll(owner, question="a\tb", description="one\r\ntwo\u2028three\u2029four\nfive")
    assert (poll["question"], poll["description"]) == ("a b", "one\ntwo\nthree\nfour\nfive")


@pytest.mark.parametrize(
    "text",
    [
        "a\x01b",
        "a\x7fb",
        "a\x85b",
        "a\rb",
        "a\nb",
        "a\u2028b",
        "\u202eabc",
        "a\u202ab",
        "a\u2067b",
        "a\u2067b\u202c",
        "\u200b\u200d",
        "\u3164",
        "\u00ad \ufeff",
    ],
    ids=ascii,
)
async def test_odd_text_is_refused_in_every_field(api: Api, owner: Person, text: str) -> None:
    body = {"question": text, "options": [text, "b"]}
    assert set(problem(await api.post("/polls", body, owner), "VALIDATION_FAILED")["fields"]) == {
        "question",
        "options",
    }
    assert set(problem(await api.post("/auth/guest", {"name": text}), "VALIDATION_FAILED")["fields"]) == {
        "name"
    }


async def test_a_description_has_lines_and_no_other_control_characters(api: Api, owner: Person) -> None:
    assert (await api.poll(owner, description="a\nb"))["description"] == "a\nb"
    body = {"question": "a", "options": ["a", "b"], "description": "a\x0bb"}
    assert set(problem(await api.post("/polls", body, owner), "VALIDATION_FAILED")["fields"]) == {
        "description"
    }


async def test_closed_directions_and_joined_emoji_are_taken(api: Api, owner: Person) -> None:
    labels = ["\u2067abc\u2069", "\u202bdef\u202c", FAMILY, FLAG_OF_SCOTLAND, FLAG_OF_WALES]
    poll = await api.poll(owner, options=labels)
    assert [option["label"] for option in poll["options"]] == labels


@pytest.mark.parametrize("other", ["Tea\u200b", "T\u00adea", "Tea\ufe0f", "\u2060Tea"], ids=ascii)
async def test_labels_that_look_alike_are_the_same(api: Api, owner: Person, other: str) -> None:
    body = {"question": "a", "options": ["Tea", other]}
    assert set(problem(await api.post("/polls", body, owner), "VALIDATION_FAILED")["fields"]) == {"options"}
    poll = await api.poll(owner, options=["Tea", "Coffee"])
    refused = await api.patch(f"/polls/{poll['id']}", {"options": ["Tea", other]}, owner)
    assert set(problem(refused, "VALIDATION_FAILED")["fields"]) == {"options"}


async def test_a_password_is_taken_as_it_is(api: Api) -> None:
    password = "  e\u0301\t\u200b secret "
    email = f"{secrets.token_hex(8)}@example.org"
    ok(await api.post("/auth/register", {"email": email, "password": password}), 201)
    ok(await api.post("/auth/login", {"email": email, "password": password}))
    composed = password.replace("e\u0301", "\u00e9")
    problem(await api.post("/auth/login", {"email": email, "password": composed}), "INVALID_CREDENTIALS")


@pytest.mark.parametrize(
    "email",
    ["a@b@c", "@b", "a@", "a b@c", "a\u200b@c.example", "a@c\u00ad.example", "a\x01@c", "a\n@c"],
    ids=ascii,
)
async def test_an_email_of_the_wrong_form(api: Api, email: str) -> None:
    body = {"email": email, "password": "correct horse"}
    assert set(problem(await api.post("/auth/register", body), "VALIDATION_FAILED")["fields"]) == {"email"}


async def test_every_wrong_field_is_named_at_once(api: Api, owner: Person) -> None:
    wrong = {
        "question": " ",
        "options": ["a"],
        "minChoices": 3,
        "maxChoices": 2,
        "closesAt": "1999-01-01T00:00:00Z",
    }
    fields = problem(await api.post("/polls", wrong, owner), "VALIDATION_FAILED")["fields"]
    assert set(fields) == {"question", "options", "maxChoices", "closesAt"}
    typed = {"question": 1, "options": "a", "resultsVisibility": "never", "colour": "red"}
    assert problem(await api.post("/polls", typed, owner), "VALIDATION_FAILED")["fields"] == {
        "question": "must be a string",
        "options": "must be an array, each item a string or an object with label, correct",
        "resultsVisibility": "must be one of: always, after_vote, after_close, owner",
        "colour": "is not a known field",
    }
    account = {"email": "nobody", "password": "short", "name": " "}
    refused = problem(await api.post("/auth/register", account), "VALIDATION_FAILED")
    assert set(refused["fields"]) == {"email", "password", "name"}


async def test_a_poll_within_every_field_limit_fits_the_body_also_escaped(api: Api, owner: Person) -> None:
    body = {
        "question": "\u4e2d" * 300,
        "description": "\u4e2d" * 2000,
        "options": [f"{n:03d}" + "\u4e2d" * 197 for n in range(100)],
    }
    poll = ok(await api.post("/polls", body, owner), 201)["poll"]  # the client escapes nothing
    assert [option["label"] for option in poll["options"]] == body["options"]
    escaped = json.dumps(body).encode()
    assert len(escaped) > 64 * 1024
    headers = {"Content-Type": "application/json"}
    ok(await api.call("POST", "/polls", who=owner, content=escaped, headers=headers), 201)
    ok(await api.call("PATCH", f"/polls/{poll['id']}", who=owner, content=escaped, headers=headers))
    padded = escaped + b" " * (256 * 1024 + 1 - len(escaped))
    problem(await api.call("POST", "/polls", who=owner, content=padded, headers=headers), "TOO_LARGE")


async def test_headers_of_answers_and_preflights(api: Api) -> None:
    for answer in (await api.get("/healthz"), await api.get("/polls/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
    guest = await api.guest()
    left = await api.post("/auth/logout", None, guest)
    assert (left.status_code, left.headers["cache-control"]) == (204, "no-store")
