"""The port that images are kept through: one suite on a folder and on MinIO, then what only one of them can do."""

import asyncio
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.adapters import image_storage as module
from app.adapters.image_storage import LocalStorage, S3Storage
from app.domain.errors import PollroomError
from tests.images.conftest import Bucket, bucket_of
from tests.plugin import not_tested
from tools.servers import Missing, minio

Store = LocalStorage | S3Storage


def s3(bucket: Bucket, base: str = "/images", *, public: bool = False) -> S3Storage:
    return S3Storage(bucket.endpoint, bucket.name, bucket.user, bucket.secret, base, public=public)


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    store = LocalStorage(folder, "/images")
    if request.param == "s3":
        store = s3(request.getfixturevalue("bucket"))
    yield store
    store.close()


@contextmanager
def unavailable() -> Iterator[None]:
    with pytest.raises(PollroomError) as caught:
        yield
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.retry_after


async def test_what_is_put_is_there_until_it_is_deleted(storage: Store) -> None:
    data = os.urandom(300_000)
    await storage.put("-first_1-1024.webp", data, "image/webp")
    await storage.put("second.webp", b"", "image/webp")
    assert await storage.get("-first_1-1024.webp") == data
    assert await storage.get("second.webp") == b""
    await storage.delete("-first_1-1024.webp")
    assert await storage.get("-first_1-1024.webp") is None
    assert await storage.get("second.webp") == b""


async def test_what_is_not_there_is_none_also_before_anything_was(storage: Store) -> None:
    await storage.delete("nothing.webp")
    assert await storage.get("nothing.webp") is None


async def test_prepare_may_be_called_again(storage: Store) -> None:
    await storage.prepare()
    await storage.put("kept.webp", b"kept", "image/webp")
    await storage.prepare()
    assert await storage.get("kept.webp") == b"kept"


async def test_put_again_gives_the_same(storage: Store) -> None:
    await storage.put("again.webp", b"one", "image/webp")
    await storage.put("again.webp", b"one", "image/webp")
    assert await storage.get("again.webp") == b"one"


async def test_many_at_once(storage: Store) -> None:
    await asyncio.gather(*(storage.put(f"n{n}.webp", b"%d" % n, "image/webp") for n in range(40)))
    assert await asyncio.gather(*(storage.get(f"n{n}.webp") for n in range(40))) == [
        b"%d" % n for n in range(40)
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x.webp",
        "a/b.webp",
        "/etc/passwd",
        "a.webp\0",
        "a b.webp",
        ".x.webp",
        "a.webp\n",
        "ä.webp",
    ],
)
async def test_other_names_are_refused(storage: Store, name: str) -> None:
    for call in (storage.put(name, b"", "image/webp"), storage.get(name), storage.delete(name)):
        with pytest.raises(ValueError, match="name"):
            await call


async def test_too_many_that_wait_are_turned_away(storage: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    results = await asyncio.gather(
        *(storage.put(f"n{n}.webp", b"", "image/webp") for n in range(6)), return_exceptions=True
    )
    assert [isinstance(each, PollroomError) for each in results] == [False] * 3 + [True] * 3
    await storage.put("later.webp", b"", "image/webp")


async def test_url_is_the_base_and_the_name(storage: Store) -> None:
    assert storage.url("a.webp") == "/images/a.webp"


async def test_a_folder_holds_whole_files_alone_and_is_private(folder: Path) -> None:
    storage = LocalStorage(folder, "/images")
    await storage.put("a.webp", b"a", "image/webp")
    assert os.listdir(folder) == ["a.webp"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    storage.close()


async def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    folder.write_text("a file")
    storage = LocalStorage(folder, "/images")
    with unavailable():
        await storage.put("a.webp", b"a", "image/webp")
    assert storage.error is not None and "Error" in storage.error
    folder.unlink()
    await storage.put("a.webp", b"a", "image/webp")
    assert storage.error is None
    assert storage.status == "kept in DATA_DIR"
    storage.close()


async def test_a_write_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(folder, "/images")
    await storage.prepare()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with unavailable():
        await storage.put("a.webp", b"a", "image/webp")
    assert os.listdir(folder) == []
    storage.close()


async def test_objects_say_what_they_are_and_how_long_to_keep_them(bucket: Bucket) -> None:
    storage = s3(bucket, f"{bucket.endpoint}/{bucket.name}", public=True)
    await storage.put("a.webp", b"data", "image/webp")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(storage.url("a.webp"))
        listing = await client.get(f"{bucket.endpoint}/{bucket.name}/")
    assert (answer.status_code, answer.content) == (200, b"data")
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert listing.status_code == 403
    storage.close()


async def test_a_bucket_is_closed_unless_it_is_to_be_public(bucket: Bucket) -> None:
    storage = s3(bucket)
    await storage.put("a.webp", b"data", "image/webp")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{bucket.endpoint}/{bucket.name}/a.webp")).status_code == 403
    storage.close()


async def test_an_existing_bucket_stays_as_it_is(bucket: Bucket) -> None:
    bucket.client.make_bucket(bucket.name)
    storage = s3(bucket, f"{bucket.endpoint}/{bucket.name}", public=True)
    await storage.put("a.webp", b"data", "image/webp")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(storage.url("a.webp"))).status_code == 403
    storage.close()


async def test_several_processes_make_one_bucket(bucket: Bucket) -> None:
    stores = [s3(bucket) for _ in range(8)]
    await asyncio.gather(*(store.prepare() for store in stores))
    assert bucket.client.bucket_exists(bucket.name)
    for store in stores:
        store.close()


async def test_a_bucket_that_vanished_is_made_again(bucket: Bucket) -> None:
    storage = s3(bucket)
    await storage.prepare()
    bucket.client.remove_bucket(bucket.name)
    with unavailable():
        await storage.put("a.webp", b"a", "image/webp")
    await storage.put("a.webp", b"a", "image/webp")
    storage.close()


async def test_a_wrong_secret(bucket: Bucket) -> None:
    storage = S3Storage(bucket.endpoint, bucket.name, bucket.user, "wrong", "/images", public=False)
    with unavailable():
        await storage.put("a.webp", b"a", "image/webp")
    assert storage.error is not None and "SignatureDoesNotMatch" in storage.error
    assert "wrong" not in storage.error
    storage.close()


async def test_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    try:
        with minio(tmp_path / "minio") as server:
            storage = s3(bucket_of(server.url))
            await storage.put("a.webp", b"a", "image/webp")
            server.kill()
            for call in (
                storage.put("b.webp", b"b", "image/webp"),
                storage.get("a.webp"),
                storage.delete("a.webp"),
            ):
                with unavailable():
                    await call
            server.start()
            assert await storage.get("a.webp") == b"a"
            await storage.put("b.webp", b"b", "image/webp")
            storage.close()
    except Missing as error:
        not_tested(error)


async def test_a_server_that_never_answers(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(module, "CALL_SECONDS", 1.5)
    monkeypatch.setattr(module, "MAX_WAITING", 6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        storage = S3Storage(endpoint, bucket.name, bucket.user, bucket.secret, "/images", public=False)
        began = time.monotonic()
        results = await asyncio.gather(*(storage.get("a.webp") for _ in range(20)), return_exceptions=True)
        assert all(isinstance(each, PollroomError) for each in results)
        assert time.monotonic() - began < 4
        storage.close()
