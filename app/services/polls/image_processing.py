"""Pictures from strangers: told by their bytes, decoded under limits, made small, without anything else that came along."""

import asyncio
import io
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from ...domain.errors import PollroomError, unavailable
from ...utils import logger

if TYPE_CHECKING:
    from PIL import Image

SIDES: Final = (1024, 256)
MAX_PIXELS: Final = {"JPEG": 40_000_000, "MPO": 40_000_000}
MAX_PIXELS_ELSE: Final = 20_000_000
"""JPEG is decoded at a smaller size. Of the others a pixel costs up to 16 bytes, 320 MB in all (WebP with alpha, measured)."""
LARGE: Final = 8_000_000
"""Pictures of more pixels are decoded one at a time."""
MAX_SCANS: Final = 32
"""Of a progressive JPEG: each costs a pass over all pixels, however short it is. Encoders make about ten."""
AT_ONCE: Final = 2
SECONDS: Final = 20.0
QUALITY: Final = 82
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")

_MARKER: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_MARKUP: Final = re.compile(rb"<script|<html|<svg|<!doctype|<\?php|%pdf-", re.IGNORECASE)
_ARCHIVE_END: Final = b"PK\x05\x06"
_ARCHIVE_END_WITHIN: Final = 65_557

log = logger.get(__name__)


class ImageProcessor:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "pictures")
        self._large = threading.Lock()

    async def shrink(self, data: bytes) -> tuple[bytes, bytes]:
        """WebP of at most 1024 and of at most 256 pixels a side, from the first frame, upright, without metadata.

        ``TOO_LARGE`` for too many pixels, ``UNSUPPORTED_MEDIA`` for what is no whole picture and nothing else,
        ``UNAVAILABLE`` where it takes too long.
        """
        try:
            async with asyncio.timeout(SECONDS):
                return await asyncio.wrap_future(self._threads.submit(shrink, data, self._large))
        except TimeoutError:
            raise unavailable(5.0) from None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def shrink(data: bytes, large_ones: AbstractContextManager[object]) -> tuple[bytes, bytes]:
    """See ``ImageProcessor.shrink``. ``large_ones``: held while a large one is decoded."""
    try:
        from PIL import Image
    except ImportError:
        raise PollroomError(
            "UNSUPPORTED_MEDIA", "This server takes no images: pip install .[images]."
        ) from None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            format, pixels = picture.format or "", picture.width * picture.height
            if pixels > MAX_PIXELS.get(format, MAX_PIXELS_ELSE):
                raise _too_many()
            _whole_and_alone(data, format)
            with large_ones if pixels > LARGE else nullcontext():
                large = _small_and_plain(picture, SIDES[0])
        encoded = _webp(large)
        large.thumbnail((SIDES[1], SIDES[1]), Image.Resampling.LANCZOS)
        return encoded, _webp(large)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many() from None
    except PollroomError:
        raise
    except MemoryError:
        raise unavailable(5.0) from None
    except Exception as error:  # decoders raise nearly anything for nonsense
        log.info("an image was refused", error=f"{type(error).__name__}: {error}"[:200])
        raise PollroomError(
            "UNSUPPORTED_MEDIA", "Not a whole PNG, JPEG, GIF or WebP image, or more than that."
        ) from error


def _too_many() -> PollroomError:
    jpeg, others = MAX_PIXELS["JPEG"] // 1_000_000, MAX_PIXELS_ELSE // 1_000_000
    return PollroomError("TOO_LARGE", f"A JPEG may have {jpeg} million pixels, other images {others}.")


def _small_and_plain(picture: "Image.Image", side: int) -> "Image.Image":
    """Sized down before anything else is done with all the pixels; JPEG is even decoded at a smaller size."""
    from PIL import Image, ImageOps

    clear = picture.has_transparency_data
    if picture.mode.startswith("I"):
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif picture.mode in ("1", "P", "PA"):
        picture = picture.convert("RGBA" if clear else "RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    upright = ImageOps.exif_transpose(picture)
    plain = upright.convert("RGBA" if clear else "RGB")
    plain.info.clear()
    return plain


def _webp(picture: "Image.Image") -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def _whole_and_alone(data: bytes, format: str) -> None:
    """Raises for a cut file, and for one that is something else as well: a page, a script, a document, an archive."""
    end = _ENDS[format](data)
    if end > len(data) or data[end:].strip(b"\0\t\r\n "):
        raise ValueError(f"{format} ends at {end} of {len(data)} bytes")
    if found := _MARKUP.search(data):
        raise ValueError(f"holds {found.group()!r}")
    if _ARCHIVE_END in data[-_ARCHIVE_END_WITHIN:]:
        raise ValueError("is an archive as well")


def _png_end(data: bytes) -> int:
    at = 8
    while at < len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return at
    raise ValueError("PNG without an end")


def _jpeg_end(data: bytes) -> int:
    at, scans = 2, 0
    while marker := _MARKER.search(data, at):
        kind, at = data[marker.end() - 1], marker.end()
        if kind == 0xD9:
            return at
        if kind == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError("JPEG of too many scans")
        if kind != 0x01:
            at += int.from_bytes(data[at : at + 2])
    raise ValueError("JPEG without an end")


def _shots_end(data: bytes) -> int:
    """Several JPEGs of one shot, as cameras and phones write them; their index stands in the first one."""
    _jpeg_end(data)
    return len(data)


def _gif_end(data: bytes) -> int:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    at = 13 + table(data[10])
    while (kind := data[at]) != 0x3B:
        if kind == 0x2C:
            at += 11 + table(data[at + 9])
        elif kind == 0x21:
            at += 2
        else:
            raise ValueError("GIF with an unknown block")
        while size := data[at]:
            at += size + 1
        at += 1
    return at + 1


def _webp_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")


_ENDS: Final[Mapping[str, Callable[[bytes], int]]] = {
    "PNG": _png_end,
    "JPEG": _jpeg_end,
    "MPO": _shots_end,
    "GIF": _gif_end,
    "WEBP": _webp_end,
}
