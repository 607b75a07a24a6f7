"""S3 goes away under a running server; a server is started while it is away; a restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.images.conftest import Bucket, ImageClient, bucket_of
from tests.images.samples import image
from tests.plugin import not_tested
from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import Server, serving
from tools.harness.wait import eventually
from tools.servers import MinIO, Missing, minio

pytestmark = pytest.mark.anyio


async def votes_as_ever(api: Api, owner: Person) -> None:
    began = time.monotonic()
    poll = await api.poll(owner)
    (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
    await api.edit(owner, poll, question="New?")
    await api.close(owner, poll)
    ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
    assert time.monotonic() - began < 2


async def shows(api: Api, status: str) -> None:
    """What operators see of the images; all else is well."""
    report = ok(await api.get("/readyz"))
    assert report["status"] == "ready"
    assert report["checks"]["images"]["status"] == status, report
    assert report["checks"]["images"]["detail"].startswith("kept in") == (status == "ok")
    assert f'pollroom_check{{check="images"}} {float(status == "ok")}\n' in (await api.get("/metrics")).text


def _left_behind(server: Server) -> Callable[[], Awaitable[list[str]]]:
    async def found() -> list[str]:
        return [line for line in server.log().splitlines() if "left behind" in line]

    return found


async def stored_again(editor: ImageClient, poll: dict[str, Any]) -> dict[str, str]:
    async def put() -> Any:
        return await editor.put(poll, image(), allow_5xx=True)

    return dict(ok(await eventually(put, lambda answer: answer.status_code == 200, 15))["option"])


async def test_uploads_get_unavailable_and_votes_do_not_notice(tmp_path: Path) -> None:
    try:
        with (
            minio(tmp_path / "minio") as s3,
            serving(tmp_path / "server", bucket_of(s3.url).settings) as server,
        ):
            async with Api(server) as api:
                await _outage(s3, server, ImageClient(api, await api.user()))
    except Missing as error:
        not_tested(error)


async def _outage(s3: MinIO, server: Server, editor: ImageClient) -> None:
    api, owner = editor.api, editor.owner
    poll, other = await api.poll(owner), await api.poll(owner)
    shown = await editor.give(poll, image())
    await editor.give(other, image())
    s3.kill()
    began = time.monotonic()
    uploads = [editor.put(poll, image(), 1, allow_5xx=True) for _ in range(10)]
    answers, _ = await asyncio.gather(asyncio.gather(*uploads), votes_as_ever(api, owner))
    assert time.monotonic() - began < 12
    for answer in answers:
        assert problem(answer, "UNAVAILABLE")["retryAfter"] > 0
    assert (await api.state(poll))["poll"]["options"][1]["imageUrl"] is None
    await shows(api, "away")
    # Each of these may have got through, and could not be deleted.
    await eventually(_left_behind(server), lambda lines: len(lines) == 10, 15)
    # What needs no S3 works: an image is taken off, a poll with images is deleted.
    began = time.monotonic()
    ok(await editor.drop(other), 204)
    ok(await api.delete(f"/polls/{other['id']}", owner), 204)
    assert time.monotonic() - began < 4
    s3.start()
    again = await stored_again(editor, poll)
    assert again["imageUrl"] != shown["imageUrl"]
    assert (await editor.look(again["imageUrl"])).status_code == 200
    await shows(api, "ok")


async def test_an_upload_that_s3_refuses_leaves_nothing_behind(bucket: Bucket, tmp_path: Path) -> None:
    with serving(tmp_path, replace(bucket, secret="wrong-secret").settings) as server:
        async with Api(server) as api:
            editor = ImageClient(api, await api.user())
            poll = await api.poll(editor.owner)
            problem(await editor.put(poll, image(), allow_5xx=True), "UNAVAILABLE")
            await shows(api, "away")
            assert await _left_behind(server)() == []
            assert server.log().count("the storage of images failed") == 2  # at the start, and now
    assert bucket.names() == set()


async def test_a_start_while_s3_is_away(tmp_path: Path) -> None:
    try:
        with minio(tmp_path / "minio") as s3:
            bucket = bucket_of(s3.url)
            s3.kill()
            with serving(tmp_path / "server", bucket.settings) as server:
                async with Api(server) as api:
                    owner = await api.user()
                    await votes_as_ever(api, owner)
                    poll = await api.poll(owner)
                    s3.start()
                    await stored_again(ImageClient(api, owner), poll)
    except Missing as error:
        not_tested(error)


async def test_images_on_disk_are_there_after_a_kill(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        async with Api(server) as api:
            editor = ImageClient(api, await api.user())
            poll = await api.poll(editor.owner)
            option = await editor.give(poll, image())
            before = (await editor.look(option["imageUrl"])).content
            server.kill()
            server.start()
            assert (await editor.look(option["imageUrl"])).content == before
            assert (await api.state(poll))["poll"]["options"][0] == option
    finally:
        server.kill()
