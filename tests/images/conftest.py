"""Servers that keep images on disk, in MinIO and shown by us, in MinIO and shown by it."""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from minio import Minio

from tools.harness.http import Api, Person, ok
from tools.harness.process import Server, serving

_numbers = itertools.count()
_run = f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Bucket:
    """A bucket's name that nobody has, on a server."""

    endpoint: str
    name: str
    user: str
    secret: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": self.name,
            "S3_ACCESS_KEY": self.user,
            "S3_SECRET_KEY": self.secret,
        }

    @property
    def client(self) -> Minio:
        return Minio(
            urlsplit(self.endpoint).netloc, access_key=self.user, secret_key=self.secret, secure=False
        )

    def names(self) -> set[str]:
        if not self.client.bucket_exists(self.name):
            return set()
        return {str(each.object_name) for each in self.client.list_objects(self.name)}


def bucket_of(url: str) -> Bucket:
    parts = urlsplit(url)
    endpoint = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    name = f"test-{_run}-{next(_numbers)}"
    return Bucket(endpoint, name, parts.username or "", parts.password or "")


@pytest.fixture
def bucket(minio_url: str) -> Bucket:
    return bucket_of(minio_url)


@dataclass(frozen=True)
class Kept:
    """A server, and the names of the files that it keeps: fewer by and by, where an earlier test left some to be deleted."""

    server: Server
    names: Callable[[], set[str]]


@pytest.fixture(scope="session", params=["disk", "s3", "s3 in public"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("images")
    settings: dict[str, str] = {}
    images = folder / "server" / "data0" / "images"

    def names() -> set[str]:
        return set(os.listdir(images))

    if request.param != "disk":
        bucket = bucket_of(request.getfixturevalue("minio_url"))
        settings, names = bucket.settings, bucket.names
        if request.param == "s3 in public":
            settings["S3_PUBLIC_URL"] = f"{bucket.endpoint}/{bucket.name}/"
    with serving(folder / "server", settings) as server:
        yield Kept(server, names)


@pytest.fixture
def server(kept: Kept) -> Server:
    return kept.server


class ImageClient:
    """One owner's images over HTTP."""

    def __init__(self, api: Api, owner: Person) -> None:
        self.api = api
        self.owner = owner

    @staticmethod
    def path(poll: dict[str, object], option: int | str = 0) -> str:
        options: list[dict[str, str]] = poll["options"]  # type: ignore[assignment]
        return f"/polls/{poll['id']}/options/{options[option]['id'] if isinstance(option, int) else option}/image"

    async def put(
        self, poll: dict[str, object], data: object, option: int | str = 0, **kw: object
    ) -> httpx.Response:
        who = kw.pop("who", self.owner)
        return await self.api.call("PUT", self.path(poll, option), who=who, content=data, **kw)  # type: ignore[arg-type]

    async def give(self, poll: dict[str, object], data: object, option: int = 0) -> dict[str, str]:
        """The option with its new image."""
        shown: dict[str, str] = ok(await self.put(poll, data, option))["option"]
        return shown

    async def drop(
        self, poll: dict[str, object], option: int | str = 0, who: object = None
    ) -> httpx.Response:
        return await self.api.delete(self.path(poll, option), who or self.owner)  # type: ignore[arg-type]

    async def look(self, address: str) -> httpx.Response:
        """As a page loads it: no token, no cookies."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(urljoin(self.api.server.url(), address))


@pytest.fixture
def editor(api: Api, owner: Person) -> ImageClient:
    return ImageClient(api, owner)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"
