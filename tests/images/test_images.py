"""Images of options over HTTP, as the contract has them, on every storage."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.images.conftest import ImageClient, Kept
from tests.images.samples import BOMBS, FORMATS, REFUSED, image, noise, opened
from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import Server
from tools.harness.shapes import public
from tools.harness.wait import ahead, eventually

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("format", FORMATS)
async def test_put_answers_the_option_with_both_addresses(
    api: Api, owner: Person, editor: ImageClient, format: str
) -> None:
    poll = await api.poll(owner)
    option = await editor.give(poll, image(format, (2000, 1000)))
    assert set(option) == {"id", "label", "imageUrl", "thumbnailUrl"}
    assert (option["id"], option["label"]) == (poll["options"][0]["id"], "Tea")
    for name, size in (("imageUrl", (1024, 512)), ("thumbnailUrl", (256, 128))):
        answer = await editor.look(option[name])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/webp"
        assert "immutable" in answer.headers["cache-control"]
        assert (opened(answer.content).format, opened(answer.content).size) == ("WEBP", size)


async def test_every_document_shows_it(api: Api, editor: ImageClient, ws: Any) -> None:
    owner = editor.owner = await api.user()
    poll = await api.poll(owner)
    option = await editor.give(poll, image(), 1)
    expected = [poll["options"][0], option]
    assert poll["options"][1]["imageUrl"] is None
    assert (await api.state(poll))["poll"]["options"] == expected
    assert ok(await api.get(f"/join/{poll['code']}"))["poll"]["options"] == expected
    assert ok(await api.get(f"/polls/{poll['id']}/results"))["options"] == expected
    assert ok(await api.get("/polls", owner))["items"][0]["options"] == expected
    assert (await api.edit(owner, poll, question="New?"))["options"] == expected
    assert (await api.close(owner, poll))["poll"]["options"] == expected
    async with ws() as socket:
        assert (await socket.join(poll))["poll"]["options"] == expected


async def test_putting_and_deleting_raise_seq_and_send_poll_changed(
    api: Api, owner: Person, editor: ImageClient, ws: Any
) -> None:
    poll = await api.poll(owner)
    async with ws() as socket:
        before = (await socket.join(poll))["tally"]["seq"]
        option = await editor.give(poll, image())
        changed = await socket.expect("POLL_CHANGED")
        assert changed["tally"]["seq"] > before
        assert changed["poll"]["options"][0] == option
        assert (await editor.drop(poll)).status_code == 204
        again = await socket.expect("POLL_CHANGED")
        assert again["tally"]["seq"] > changed["tally"]["seq"]
        assert again["poll"] == public(poll)


async def test_after_votes_and_when_closed(
    api: Api, owner: Person, guest: Person, editor: ImageClient
) -> None:
    poll = await api.poll(owner, guests=True)
    tea = poll["options"][0]["id"]
    (await api.vote(guest, poll["id"], [tea])).fresh()
    await editor.give(poll, image())
    await api.close(owner, poll)
    option = await editor.give(poll, image(size=(10, 10)), 1)
    assert (await editor.drop(poll)).status_code == 204
    state = await api.state(poll, guest)
    assert state["poll"]["options"] == [poll["options"][0], option]
    assert (state["tally"]["counts"][tea], state["tally"]["final"]) == (1, True)
    assert state["yourVote"]["optionIds"] == [tea]


async def test_in_drafts_and_scheduled_polls(
    api: Api, owner: Person, guest: Person, editor: ImageClient
) -> None:
    draft = await api.poll(owner, draft=True)
    await editor.give(draft, image())
    problem(await editor.put(draft, image(), who=guest), "NOT_FOUND")
    await editor.give(await api.poll(owner, opensAt=ahead(3600)), image())


async def test_deleting_without_an_image_changes_nothing(
    api: Api, owner: Person, editor: ImageClient
) -> None:
    poll = await api.poll(owner)
    before = await api.tally(poll)
    assert (await editor.drop(poll)).status_code == 204
    assert await api.tally(poll) == before


async def test_images_that_nobody_names_any_more_go(
    api: Api, owner: Person, editor: ImageClient, kept: Kept
) -> None:
    poll = await api.poll(owner, options=["Tea", "Coffee", "Water"])
    before = kept.names()

    async def addresses(option: int) -> list[str]:
        shown = await editor.give(poll, image(), option)
        return [shown["imageUrl"], shown["thumbnailUrl"]]

    async def gone(old: list[str]) -> None:
        left = {address.rpartition("/")[2] for address in old}

        async def names() -> set[str]:
            return kept.names() & left

        await eventually(names, lambda found: not found)
        for address in old:
            assert (await editor.look(address)).status_code in (403, 404)

    first, second, third = [await addresses(option) for option in range(3)]
    replaced = await addresses(0)
    await gone(first)
    assert (await editor.drop(poll, 1)).status_code == 204
    await gone(second)
    await api.edit(owner, poll, options=["Tea", "Coffee", "Milk"])
    await gone(third)
    assert (await editor.look(replaced[0])).status_code == 200
    assert (await api.delete(f"/polls/{poll['id']}", owner)).status_code == 204
    await gone(replaced)
    assert kept.names() <= before


async def test_an_option_that_keeps_its_label_keeps_its_image(
    api: Api, owner: Person, editor: ImageClient
) -> None:
    poll = await api.poll(owner)
    option = await editor.give(poll, image())
    edited = await api.edit(owner, poll, options=["Water", "Tea"])
    assert edited["options"][1] == option
    assert (await editor.look(option["imageUrl"])).status_code == 200


async def test_who_may_not(api: Api, owner: Person, guest: Person, editor: ImageClient, kept: Kept) -> None:
    poll, other = await api.poll(owner), await api.poll(owner)
    before = kept.names()
    for who, code in ((None, "UNAUTHENTICATED"), ("forged", "UNAUTHENTICATED"), (guest, "FORBIDDEN")):
        problem(await editor.put(poll, image(), who=who), code)
        problem(await api.delete(editor.path(poll), who), code)
    stranger = await api.user()
    problem(await editor.put(poll, image(), who=stranger), "FORBIDDEN")
    for option in (other["options"][0]["id"], "nothing", "x" * 300, "%00"):
        problem(await editor.put(poll, image(), option), "INVALID_OPTION")
        problem(await editor.drop(poll, option), "INVALID_OPTION")
    for missing in ("A" * 17, "!", "x" * 40):
        nowhere = {"id": missing, "options": poll["options"]}
        problem(await editor.put(nowhere, image()), "NOT_FOUND")
        problem(await editor.drop(nowhere), "NOT_FOUND")
    assert (await api.delete(f"/polls/{other['id']}", owner)).status_code == 204
    problem(await editor.put(other, image()), "NOT_FOUND")
    assert kept.names() <= before


async def test_the_token_comes_before_the_body(
    api: Api, owner: Person, guest: Person, editor: ImageClient
) -> None:
    poll = await api.poll(owner)
    large = bytes(6 << 20)
    problem(await editor.put(poll, large, who=None), "UNAUTHENTICATED")
    problem(await editor.put(poll, large, who=guest), "FORBIDDEN")
    problem(await editor.put(poll, large, "nothing"), "INVALID_OPTION")


async def test_the_bytes_tell_the_type_and_not_the_header(
    api: Api, owner: Person, editor: ImageClient
) -> None:
    poll = await api.poll(owner)
    for declared in ("image/svg+xml", "text/html", "application/json", "nonsense"):
        ok(await editor.put(poll, image("GIF"), headers={"Content-Type": declared}))
    answer = await editor.put(poll, b"<svg/>", headers={"Content-Type": "image/png"})
    problem(answer, "UNSUPPORTED_MEDIA")


async def test_five_mebibytes_and_not_one_byte_more(
    api: Api, owner: Person, editor: ImageClient, kept: Kept
) -> None:
    poll = await api.poll(owner)
    picture = image("PNG")
    before = kept.names()
    problem(await editor.put(poll, picture + bytes((5 << 20) + 1 - len(picture))), "TOO_LARGE")

    async def undeclared() -> AsyncIterator[bytes]:
        yield picture
        for _ in range(100):
            yield bytes(60_000)

    problem(await editor.put(poll, undeclared()), "TOO_LARGE")
    assert kept.names() <= before
    await editor.give(poll, picture + bytes((5 << 20) - len(picture)))
    assert len(noise((1500, 1500))) > 4_500_000
    await editor.give(poll, noise((1500, 1500)))


@pytest.mark.parametrize("name", list(REFUSED))
async def test_refused_and_nothing_stored(
    api: Api, owner: Person, editor: ImageClient, kept: Kept, name: str
) -> None:
    poll = await api.poll(owner)
    before = kept.names()
    problem(await editor.put(poll, REFUSED[name]()), "UNSUPPORTED_MEDIA")
    assert kept.names() <= before
    assert (await api.state(poll))["poll"] == public(poll)


@pytest.mark.parametrize("name", list(BOMBS))
async def test_bombs_are_too_large_and_nothing_is_stored(
    api: Api, owner: Person, editor: ImageClient, kept: Kept, name: str
) -> None:
    poll = await api.poll(owner)
    before = kept.names()
    problem(await editor.put(poll, BOMBS[name]()), "TOO_LARGE")
    assert kept.names() <= before


async def test_images_of_ours_are_shown_and_never_run(api: Api, owner: Person, editor: ImageClient) -> None:
    option = await editor.give(await api.poll(owner), image())
    if not option["imageUrl"].startswith("/"):
        assert option["imageUrl"].startswith("http://")
        return
    assert option["imageUrl"].startswith("/images/")
    headers = (await editor.look(option["imageUrl"])).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert int(headers["content-length"]) > 0
    head = await api.call("HEAD", option["imageUrl"])
    assert (head.status_code, head.headers["content-type"]) == (200, "image/webp")
    assert (await api.get(option["imageUrl"], "a stale token")).status_code == 200
    problem(await api.call("DELETE", option["imageUrl"], who=owner), "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "..%2fjwt_secret",
        "%2e%2e%2fpollroom.db",
        ".x.draft",
        "%00",
        "a" * 3000,
        "a" * 17 + "-1024.webp",
        "a" * 17 + "-512.webp",
        "a" * 17 + "-256.webp%0a",
    ],
)
async def test_other_names_are_not_found(api: Api, name: str) -> None:
    problem(await api.get(f"/images/{name}"), "NOT_FOUND")


async def test_editing_at_once_leaves_the_image_that_the_poll_names(
    api: Api, owner: Person, editor: ImageClient, kept: Kept
) -> None:
    poll = await api.poll(owner)
    before = kept.names()
    data = [image(size=(10 + n, 10)) for n in range(8)]
    answers = await asyncio.gather(*(editor.put(poll, each) for each in data))
    assert {answer.status_code for answer in answers} == {200}
    named = (await api.state(poll))["poll"]["options"][0]
    assert named in [answer.json()["option"] for answer in answers]
    assert (await editor.look(named["imageUrl"])).status_code == 200

    async def new() -> set[str]:
        return kept.names() - before

    await eventually(new, lambda names: len(names) == 2)


async def begin(
    api: Api, editor: ImageClient, owner: Person, poll: dict[str, Any], body: bytes, length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An upload whose last bytes are missing."""
    address = urlsplit(api.server.url())
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = [
        f"PUT {editor.path(poll)} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: Bearer {owner.token}",
        f"Content-Length: {length}",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    return reader, writer


async def test_one_user_has_so_many_uploads_at_once_and_others_are_not_kept_out(
    api: Api, owner: Person, editor: ImageClient
) -> None:
    polls = [await api.poll(owner) for _ in range(20)]
    picture = image()
    uploads = [await begin(api, editor, owner, poll, picture[:-12], len(picture)) for poll in polls]
    answers = {asyncio.create_task(reader.readline()): writer for reader, writer in uploads}

    async def answered() -> list[bytes]:
        return [answer.result() for answer in answers if answer.done()]

    refused = await eventually(answered, lambda found: len(found) == 4)
    assert {line.split()[1] for line in refused} == {b"429"}
    problem(await editor.put(polls[0], picture), "RATE_LIMITED")
    other = await api.user()
    ok(await editor.put(await api.poll(other), picture, who=other))
    (await api.vote(owner, polls[0]["id"], [polls[0]["options"][0]["id"]])).fresh()
    for answer, writer in answers.items():
        if not answer.done():
            writer.write(picture[-12:])
    lines = await eventually(answered, lambda found: len(found) == 20, 20)
    assert sorted(line.split()[1] for line in lines) == [b"200"] * 16 + [b"429"] * 4
    await editor.give(polls[0], picture)
    for writer in answers.values():
        writer.close()


async def test_received_bytes_of_all_uploads_are_limited(api: Api, editor: ImageClient) -> None:
    uploads = []
    for _ in range(2):
        owner = await api.user()
        poll = await api.poll(owner)
        uploads += [await begin(api, editor, owner, poll, bytes(5 << 20)[:-1], 5 << 20) for _ in range(14)]
    lines = [asyncio.create_task(reader.readline()) for reader, _ in uploads]

    async def refused() -> list[bytes]:
        return [line.result() for line in lines if line.done()]

    found = await eventually(refused, lambda found: len(found) >= 2, 20)
    assert {line.split()[1] for line in found} == {b"429"}
    for line, (_, writer) in zip(lines, uploads, strict=True):
        writer.close()
        line.cancel()
    owner = await api.user()
    poll = await api.poll(owner)

    async def taken() -> int:
        return (await editor.put(poll, image(), who=owner)).status_code

    await eventually(taken, lambda status: status == 200)


async def test_readyz_says_where_images_are(server: Server) -> None:
    assert server.readiness()[1]["checks"]["images"]["detail"].startswith("kept in")


async def test_rounds_share_image_files_until_the_last_one_is_gone(
    api: Api, owner: Person, editor: ImageClient, kept: Kept
) -> None:
    poll = await api.poll(owner)
    before = kept.names()
    shown = await editor.give(poll, image())
    files = kept.names() - before
    second = (await api.post(f"/polls/{poll['id']}/again", None, owner)).json()["poll"]
    assert second["options"][0]["imageUrl"] == shown["imageUrl"]
    ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
    assert kept.names() >= files and len(files) == 2
    ok(await api.delete(f"/polls/{second['id']}", owner), 204)

    async def left() -> set[str]:
        return kept.names() & files

    await eventually(left, lambda found: not found)
