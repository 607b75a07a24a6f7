"""Where option images are kept: a bucket of any S3 server, or a folder. Both block, so each has threads of its own."""

import asyncio
import io
import json
import os
import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from ..domain.errors import unavailable
from ..ports.image_storage import NotKept
from ..utils import logger

T = TypeVar("T")

THREADS: Final = 4
MAX_WAITING: Final = 64
CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 4.0
CALL_SECONDS: Final = 10.0
LARGEST: Final = 16 << 20
CACHING: Final = "public, max-age=31536000, immutable"

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.[a-z]{3,4}")

log = logger.get(__name__)


class _Threads:
    """At most ``MAX_WAITING`` calls that are not done, ``CALL_SECONDS`` each; beyond that ``UNAVAILABLE``.

    ``error``: why the last call failed, none where it did not.
    """

    def __init__(self, *failures: type[Exception]) -> None:
        self._failures: tuple[type[Exception], ...] = (TimeoutError, *failures)
        self._pool = ThreadPoolExecutor(THREADS, "storage")
        self._waiting = 0
        self.error: str | None = None

    async def run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise NotKept()
        self._waiting += 1
        future = self._pool.submit(work)
        # Counted until the thread is done with it: a hanging server does not give it back at the time limit.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._done))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                result = await asyncio.wrap_future(future)
        except self._failures as error:
            self.error = f"{type(error).__name__}: {error}"[:200]
            log.warning("the storage of images failed", error=self.error)
            raise NotKept() if _refused(error) else unavailable(2.0) from error
        self.error = None
        return result

    def _done(self) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """At once; what runs ends within its own limits."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class LocalStorage:
    """Files in ``folder``, for one process or for several on a shared disk. ``base``: where clients read them."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self._base = base
        self._threads = _Threads(OSError)

    async def prepare(self) -> None:
        await self._threads.run(lambda: self._folder.mkdir(mode=0o700, parents=True, exist_ok=True))

    async def put(self, name: str, data: bytes, content_type: str) -> None:
        await self._threads.run(lambda: self._write(self._path(name), data))

    async def get(self, name: str) -> bytes | None:
        path = self._path(name)

        def read() -> bytes | None:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

        return await self._threads.run(read)

    async def delete(self, name: str) -> None:
        await self._threads.run(lambda: self._path(name).unlink(missing_ok=True))

    def url(self, name: str) -> str:
        return f"{self._base}/{name}"

    @property
    def status(self) -> str:
        return "kept in DATA_DIR"

    @property
    def error(self) -> str | None:
        """Why the last call failed, none where it did not."""
        return self._threads.error

    def close(self) -> None:
        self._threads.close()

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)

    def _write(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{secrets.token_hex(8)}.draft"
        try:
            with open(draft, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        # Without this the name itself may be lost with the power.
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class S3Storage:
    """``endpoint``: ``http://host:port`` or ``https://host``. ``base``: where clients read, ``public``: without us.

    The bucket is made where it is missing; one that we make is readable by all where ``public``. An existing one is
    left as its owner set it.
    """

    def __init__(
        self, endpoint: str, bucket: str, access_key: str, secret_key: str, base: str, *, public: bool
    ) -> None:
        address = urlsplit(endpoint)
        self._bucket = bucket
        self._base = base
        self._public = public
        self._there = False
        self._making = threading.Lock()
        self._threads = _Threads(MinioException, urllib3.exceptions.HTTPError, OSError, ValueError)
        self._http = urllib3.PoolManager(
            maxsize=THREADS,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            # Once, for a connection that the server had closed meanwhile; every call here may be repeated.
            retries=urllib3.Retry(total=1, connect=0, redirect=False, status=0),
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self._client = Minio(
            address.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=address.scheme == "https",
            http_client=self._http,
        )

    async def prepare(self) -> None:
        """Make the bucket where it is missing. ``UNAVAILABLE`` is no harm: ``put`` tries again."""
        await self._threads.run(self._make_bucket)

    async def put(self, name: str, data: bytes, content_type: str) -> None:
        _checked(name)

        def send() -> None:
            self._make_bucket()
            try:
                self._client.put_object(
                    self._bucket,
                    name,
                    io.BytesIO(data),
                    len(data),
                    content_type=content_type,
                    metadata={"Cache-Control": CACHING},
                )
            except S3Error as error:
                self._there = self._there and error.code != "NoSuchBucket"
                raise

        await self._threads.run(send)

    async def get(self, name: str) -> bytes | None:
        _checked(name)

        def fetch() -> bytes | None:
            try:
                response = self._client.get_object(self._bucket, name)
            except S3Error as error:
                if error.code in ("NoSuchKey", "NoSuchBucket"):
                    return None
                raise
            try:
                data: bytes = response.read(LARGEST + 1)
            finally:
                response.close()
                response.release_conn()
            if len(data) > LARGEST:
                raise ValueError("not one of our images")
            return data

        return await self._threads.run(fetch)

    async def delete(self, name: str) -> None:
        _checked(name)

        def remove() -> None:
            try:
                self._client.remove_object(self._bucket, name)
            except S3Error as error:
                if error.code not in ("NoSuchKey", "NoSuchBucket"):
                    raise

        await self._threads.run(remove)

    def url(self, name: str) -> str:
        return f"{self._base}/{name}"

    @property
    def status(self) -> str:
        return f"kept in the bucket {self._bucket}"

    @property
    def error(self) -> str | None:
        """Why the last call failed, none where it did not."""
        return self._threads.error

    def close(self) -> None:
        self._threads.close()
        self._http.clear()

    def _make_bucket(self) -> None:
        with self._making:
            if self._there:
                return
            try:
                if not self._client.bucket_exists(self._bucket):
                    self._client.make_bucket(self._bucket)
                    if self._public:
                        self._open_to_all()
            except S3Error as error:
                # Another process was faster; or the key may do nothing but put and get objects.
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "AccessDenied"):
                    raise
            self._there = True

    def _open_to_all(self) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{self._bucket}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        try:
            self._client.set_bucket_policy(self._bucket, json.dumps(policy))
        except S3Error as error:
            log.error("the new bucket is not readable by all: set its policy by hand", error=error.code)


def _refused(error: Exception) -> bool:
    """Whether the server answered that it did nothing; a fault of its own leaves that open."""
    return isinstance(error, S3Error) and error.response.status < 500


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("not the name of an image")
    return name
