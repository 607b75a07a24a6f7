"""A program that makes uploaded images small: one per decoding slot, started by ``image_processes.py``.

It runs as a file of its own and imports nothing of the server, so that no image can stop a vote: whatever a decoder does
with hostile bytes ends with this process. Requests and answers are length-prefixed on standard input and output; the end
of standard input ends the program.

Only what Pillow decodes from the first frame is encoded anew. Metadata, trailers, further pictures and anything else in
the file are dropped, so they need no checks.
"""

import io
import os
import resource
import signal
import struct
import sys
import warnings
from contextlib import suppress
from typing import BinaryIO, Final

from PIL import Image, ImageMath

SIDES: Final = (1024, 256)
MAX_PIXELS: Final = {"JPEG": 40_000_000, "MPO": 40_000_000}
MAX_PIXELS_ELSE: Final = 20_000_000
"""A JPEG is decoded at a smaller size. Other formats cost up to 16 bytes per pixel, 320 MB in all (WebP with alpha)."""
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
QUALITY: Final = 82
MEMORY_BYTES: Final = 1 << 30
CPU_SECONDS: Final = 10
NICE: Final = 10

OK, UNSUPPORTED, TOO_LARGE = range(3)
"""First byte of an answer."""

_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LENGTH: Final = struct.Struct(">I")


class TooLarge(Exception):
    """More pixels than are decoded."""


def shrink(data: bytes) -> tuple[bytes, bytes]:
    """WebP of at most 1024 and of at most 256 pixels per side: the first frame, upright, without metadata.

    Raises ``TooLarge``, ``MemoryError``, or nearly anything else for bytes that are no image.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS.get(picture.format or "", MAX_PIXELS_ELSE):
            raise TooLarge
        large = _small_and_plain(picture, SIDES[0])
    encoded = _webp(large)
    large.thumbnail((SIDES[1], SIDES[1]), Image.Resampling.LANCZOS)
    return encoded, _webp(large)


def _small_and_plain(picture: Image.Image, side: int) -> Image.Image:
    """Sized down before anything else is done with all the pixels; a JPEG is even decoded at a smaller size."""
    _match_transparent_colour(picture)  # before anything loads the pixels
    turn = _turn(picture)
    clear = picture.has_transparency_data
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    elif clear or picture.mode in ("1", "P", "PA"):
        picture = picture.convert("RGBA" if clear else "RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    plain = picture.convert("RGBA" if clear else "RGB")
    plain.info.clear()
    return plain if turn is None else plain.transpose(turn)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """How the camera was held. Unreadable metadata says nothing."""
    with suppress(Exception):
        return _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    return None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A greyscale image of 16 bits; pixels of its transparent value become transparent."""
    clear = picture.info.get("transparency")
    wide = picture.convert("I")
    grey = wide.point(lambda value: value * (1 / 256)).convert("L")
    if clear is None:
        return grey
    alpha = ImageMath.lambda_eval(lambda of: of["convert"]((of["wide"] != clear) * 255, "L"), wide=wide)
    return Image.merge("LA", (grey, alpha))


def _match_transparent_colour(picture: Image.Image) -> None:
    """Pillow keeps 8 of 16 bits of each pixel, but all 16 of the colour that is transparent."""
    colour = picture.info.get("transparency")
    tile = getattr(picture, "tile", None)
    if isinstance(colour, tuple) and tile and tile[0][3] == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _webp(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def answer(data: bytes) -> bytes:
    """The answer to one image: a status byte, then the length of the larger file and both files, or the reason."""
    try:
        large, small = shrink(data)
    except (TooLarge, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return bytes([TOO_LARGE])
    except Exception as error:  # decoders raise nearly anything for nonsense
        return bytes([UNSUPPORTED]) + f"{type(error).__name__}: {error}"[:200].encode(errors="replace")
    return bytes([OK]) + _LENGTH.pack(len(large)) + large + small


def _bound_time() -> None:
    """CPU seconds for the next image. The kernel ends the process after them."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS, hard))


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = source.read(length)
    return data if len(data) == length else None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS has no limit of address space
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    Image.init()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while (data := _read(source)) is not None:
        _bound_time()
        found = answer(data)
        target.write(_LENGTH.pack(len(found)) + found)
        target.flush()


if __name__ == "__main__":
    main()
