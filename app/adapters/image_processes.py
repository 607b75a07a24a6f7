"""Child processes that decode images: at most one per slot, started when needed."""

import asyncio
import importlib.util
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..domain.errors import PollroomError, unavailable
from ..utils import logger

SLOTS: Final = 2
WAIT_SECONDS: Final = 20.0
"""For a free slot."""
IMAGE_SECONDS: Final = 10.0
"""For one image; then its process is killed."""
IMAGES_PER_PROCESS: Final = 50
IDLE_SECONDS: Final = 60.0
STOP_SECONDS: Final = 2.0
MAX_ANSWER: Final = 16 << 20

_OK, _, _TOO_LARGE = range(3)  # as in image_decoder.py
_LENGTH: Final = struct.Struct(">I")
_PROGRAM: Final = Path(__file__).with_name("image_decoder.py")

_log = logger.get(__name__)


class _Decoder:
    """One running child."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.images = 0

    @classmethod
    async def start(cls) -> "_Decoder":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_PROGRAM), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=MAX_ANSWER
            )
        )

    async def ask(self, data: bytes) -> bytes:
        """``asyncio.IncompleteReadError`` or ``OSError`` where the process ended."""
        self.images += 1
        source, target = self._process.stdin, self._process.stdout
        assert source is not None
        assert target is not None
        source.write(_LENGTH.pack(len(data)))
        source.write(data)
        await source.drain()
        (length,) = _LENGTH.unpack(await target.readexactly(_LENGTH.size))
        return await target.readexactly(min(length, MAX_ANSWER))

    async def stop(self) -> None:
        """Kill it, and wait for its end."""
        with suppress(ProcessLookupError):
            self._process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()


class ImageProcesses:
    """See ``ports.image_processing.ImageProcessor``. A process that dies or hangs costs its image and nothing else."""

    def __init__(self, *, image_seconds: float = IMAGE_SECONDS, idle_seconds: float = IDLE_SECONDS) -> None:
        self._image_seconds = image_seconds
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(SLOTS)
        self._resting: dict[_Decoder, asyncio.TimerHandle] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def shrink(self, data: bytes) -> tuple[bytes, bytes]:
        if importlib.util.find_spec("PIL") is None:
            raise PollroomError("UNSUPPORTED_MEDIA", "This server takes no images: pip install .[images].")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise unavailable(5.0) from None
        try:
            found = await self._decode(data)
        finally:
            self._slots.release()
        if found[0] == _OK:
            (size,) = _LENGTH.unpack_from(found, 1)
            start = 1 + _LENGTH.size
            return found[start : start + size], found[start + size :]
        if found[0] == _TOO_LARGE:
            raise PollroomError("TOO_LARGE", "A JPEG may have 40 million pixels, other images 20 million.")
        _log.info("image_refused", error=found[1:].decode(errors="replace"))
        raise _unsupported()

    async def _decode(self, data: bytes) -> bytes:
        decoder = await self._take()
        try:
            async with asyncio.timeout(self._image_seconds):
                found = await decoder.ask(data)
        except BaseException as error:
            self._stop(decoder)
            if isinstance(error, TimeoutError):
                _log.warning("image_decoder_killed", seconds=self._image_seconds)
                raise unavailable(5.0) from None
            if isinstance(error, (asyncio.IncompleteReadError, OSError)):
                _log.warning("image_decoder_died")
                raise _unsupported() from None
            raise
        if decoder.images >= IMAGES_PER_PROCESS:
            self._stop(decoder)
        else:
            loop = asyncio.get_running_loop()
            self._resting[decoder] = loop.call_later(self._idle_seconds, self._stop, decoder)
        return found

    async def _take(self) -> _Decoder:
        if not self._resting:
            return await _Decoder.start()
        decoder, timer = self._resting.popitem()
        timer.cancel()
        return decoder

    def _stop(self, decoder: _Decoder) -> None:
        if timer := self._resting.pop(decoder, None):
            timer.cancel()
        task = asyncio.create_task(decoder.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def close(self) -> None:
        for decoder in list(self._resting):
            self._stop(decoder)
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=STOP_SECONDS)


def _unsupported() -> PollroomError:
    return PollroomError("UNSUPPORTED_MEDIA", "Not a PNG, JPEG, GIF or WebP image that can be decoded.")
