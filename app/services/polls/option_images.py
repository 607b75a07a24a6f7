"""Option images: scaled down, stored, then added to the poll by an ordinary edit.

Order: store the new files, commit the edit, delete the old files. A poll therefore never names a missing image. A crash in
between leaves files that no poll names.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from msgspec.structs import replace

from ...domain.ballots import PollState
from ...domain.errors import PollroomError
from ...domain.polls import Option, OptionView, Rules, image_files, is_image_file, option_view
from ...domain.users import Identity
from ...domain.values import new_id
from ...ports.database import Database
from ...ports.image_processing import ImageProcessor
from ...ports.image_storage import NotKept, Storage
from ...repositories import images
from ...repositories import polls as model
from ...utils import logger
from ...utils.single_flight import SingleFlight
from .poll_loader import PollLoader
from .poll_reader import PollReader

CONTENT_TYPE: Final = "image/webp"
MAX_BYTES: Final = 5 << 20
UPLOADS_PER_USER: Final = 16
UPLOAD_BYTES: Final = 128 << 20
"""Received and not yet stored, over all uploads. A client that sends nothing takes nothing."""
DISCARD_WAIT_SECONDS: Final = 0.5
MAX_DISCARDS: Final = 256
CLOSE_SECONDS: Final = 2.0
CACHE_BYTES: Final = 32 << 20

Body = Callable[[Callable[[int], None]], Awaitable[bytes]]
"""Reads an upload. Calls its argument with the size of each part as it arrives."""

log = logger.get(__name__)


class OptionImages:
    def __init__(
        self,
        database: Database,
        editor: PollLoader,
        reader: PollReader,
        storage: Storage,
        processor: ImageProcessor,
        most_bytes: int,
    ) -> None:
        """``most_bytes``: of the stored images of one user."""
        self._database = database
        self._editor = editor
        self._reader = reader
        self._storage = storage
        self._processor = processor
        self._most_bytes = most_bytes
        self._uploads: Counter[str] = Counter()
        self._upload_bytes = 0
        self._discarding: set[asyncio.Task[None]] = set()
        self._fetching: SingleFlight[str, bytes] = SingleFlight()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0

    async def put(self, identity: Identity, poll_id: str, option_id: str, body: Body) -> OptionView:
        """Give an option this image. ``body`` is read only if the user may do so.

        Raises ``TOO_LARGE``, ``UNSUPPORTED_MEDIA``, ``FORBIDDEN`` above the user's quota, and ``RATE_LIMITED`` above
        ``UPLOADS_PER_USER`` or ``UPLOAD_BYTES``.
        """
        await self._may_edit(identity, poll_id, option_id)
        with self._upload(identity.user.id) as count:
            pictures = await self._processor.shrink(await body(count))
            image = new_id()
            kept: list[str] = []
            await self._count(image, identity.user.id, sum(map(len, pictures)))
            try:
                for name, data in zip(image_files(image), pictures, strict=True):
                    kept.append(name)
                    await self._storage.put(name, data, CONTENT_TYPE)
                option = await self._set(poll_id, option_id, image)
            except BaseException as error:
                if isinstance(error, NotKept):
                    kept.pop()
                await self._take_back(poll_id, image, kept, error)
                raise
        return option_view(option, self._storage.url)

    async def _count(self, image: str, owner_id: str, size: int) -> None:
        used = await images.bytes_of_owner(self._database, owner_id)
        if used + size > self._most_bytes:
            raise PollroomError("FORBIDDEN", f"The images of a user may take {self._most_bytes} bytes.")
        await images.insert(self._database, image, owner_id, size)

    async def remove(self, identity: Identity, poll_id: str, option_id: str) -> None:
        """Without an image, nothing changes."""
        await self._may_edit(identity, poll_id, option_id)
        await self._set(poll_id, option_id, None)

    async def read(self, name: str) -> bytes:
        """The WebP file of that name. Concurrent requests for one name fetch it once. Raises ``NOT_FOUND``."""
        if not is_image_file(name):
            raise PollroomError("NOT_FOUND")
        if (known := self._cache.get(name)) is not None:
            self._cache.move_to_end(name)
            return known
        return await self._fetching.run(name, lambda: self._fetch(name))

    async def discard(self, unnamed: Collection[str], owner_id: str) -> None:
        """Delete images that a poll of this owner no longer names, unless another round of it still does. Waits for
        ``DISCARD_WAIT_SECONDS`` at most; failures are logged."""
        if not unnamed:
            return
        try:
            unused = set(unnamed)
            for image, poll_id in await model.users_of_images(self._database, unnamed):
                if image in unused and await self._exists(poll_id, owner_id):
                    unused.remove(image)
        except PollroomError:
            log.warning("images are left behind", images=sorted(unnamed))
        else:
            await self._discard_files({image: image_files(image) for image in unused})

    async def _exists(self, poll_id: str, owner_id: str) -> bool:
        """SQL sees a deletion late."""
        try:
            await self._reader.read(poll_id, owner_id)
        except PollroomError as error:
            if error.code != "NOT_FOUND":
                raise
            return False
        return True

    async def _discard_files(self, files: Mapping[str, Collection[str]]) -> None:
        """``files``: image -> its files that may be stored."""
        if not files:
            return
        if len(self._discarding) >= MAX_DISCARDS:
            log.warning("images are left behind", images=sorted(files))
            return
        task = asyncio.create_task(self._delete(files))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)
        await asyncio.wait({task}, timeout=DISCARD_WAIT_SECONDS)

    async def discard_all(self, poll_id: str) -> None:
        """Delete the images of a deleted poll."""
        try:
            rules = await model.find(self._database, poll_id)
        except PollroomError:
            log.warning("images of a deleted poll are left behind", poll=poll_id)
        else:
            if rules is not None:
                await self.discard(named(rules), rules.owner_id)

    async def close(self) -> None:
        """Wait up to ``CLOSE_SECONDS`` for deletions to finish."""
        if self._discarding:
            await asyncio.wait(self._discarding, timeout=CLOSE_SECONDS)
        for task in list(self._discarding):
            task.cancel()

    async def _may_edit(self, identity: Identity, poll_id: str, option_id: str) -> None:
        reading = await self._reader.owned(poll_id, identity.user.id)
        _position(reading.rules, option_id)

    @contextmanager
    def _upload(self, user_id: str) -> Iterator[Callable[[int], None]]:
        """Yields what counts received bytes."""
        if self._uploads[user_id] >= UPLOADS_PER_USER:
            raise PollroomError("RATE_LIMITED", retry_after=1.0)
        self._uploads[user_id] += 1
        received = 0

        def count(size: int) -> None:
            nonlocal received
            received += size
            self._upload_bytes += size
            if self._upload_bytes > UPLOAD_BYTES:
                raise PollroomError("RATE_LIMITED", retry_after=1.0)

        try:
            yield count
        finally:
            self._upload_bytes -= received
            self._uploads[user_id] -= 1
            if not self._uploads[user_id]:
                del self._uploads[user_id]

    async def _set(self, poll_id: str, option_id: str, image: str | None) -> Option:
        replaced: str | None = None

        def change(rules: Rules, state: PollState) -> Rules:
            nonlocal replaced
            position = _position(rules, option_id)
            options = list(rules.options)
            replaced = options[position].image
            if replaced == image:
                replaced = None
                return rules
            options[position] = replace(options[position], image=image)
            return replace(rules, options=tuple(options), version=rules.version + 1)

        rules, _ = await self._editor.edit(poll_id, change)
        self._reader.remember(rules)
        await self.discard([replaced] if replaced else (), rules.owner_id)
        return rules.options[_position(rules, option_id)]

    async def _take_back(self, poll_id: str, image: str, kept: Collection[str], error: BaseException) -> None:
        """Delete the files of a new image whose edit failed. If the outcome is unknown, ask SQL; if SQL is away, keep them."""
        refused = isinstance(error, PollroomError) and error.code not in ("UNAVAILABLE", "INTERNAL")
        try:
            if not refused:
                rules = await model.find(self._database, poll_id)
                if rules is not None and image in named(rules):
                    return
            await self._discard_files({image: kept})
        except (PollroomError, asyncio.CancelledError):
            log.warning("an image may be left behind", image=image)

    async def _delete(self, files: Mapping[str, Collection[str]]) -> None:
        left = set(files)
        try:
            for image, names in files.items():
                with suppress(PollroomError):
                    for name in names:
                        self._forget(name)
                        await self._storage.delete(name)
                    await images.delete(self._database, image)
                    left.remove(image)
        finally:
            if left:
                log.warning("images may be left behind", images=sorted(left))

    async def _fetch(self, name: str) -> bytes:
        data = await self._storage.get(name)
        if data is None:
            raise PollroomError("NOT_FOUND")
        self._cache[name] = data
        self._cached += len(data)
        while self._cached > CACHE_BYTES:
            self._forget(next(iter(self._cache)))
        return data

    def _forget(self, name: str) -> None:
        self._cached -= len(self._cache.pop(name, b""))


def named(rules: Rules) -> set[str]:
    """The images that a poll names."""
    return {option.image for option in rules.options if option.image is not None}


def _position(rules: Rules, option_id: str) -> int:
    for position, option in enumerate(rules.options):
        if option.id == option_id:
            return position
    raise PollroomError("INVALID_OPTION")
