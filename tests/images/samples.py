"""Images and what pretends to be one."""

import io
import struct
import zipfile
import zlib
from typing import Any

from PIL import Image

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
Colour = Any


def image(
    format: str = "PNG", size: tuple[int, int] = (40, 30), mode: str = "RGB", colour: Colour = 0, **save: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, format, **save)
    return out.getvalue()


def noise(size: tuple[int, int], format: str = "PNG", **save: Any) -> bytes:
    """As large as an image of that size can become."""
    out = io.BytesIO()
    Image.effect_noise(size, 100).convert("RGB").save(out, format, **save)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, rows: bytes, *extra: bytes) -> bytes:
    """An RGB PNG that says it has this size, whatever ``rows`` (compressed here) hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [header, *extra, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("evil.js", "alert(1)")
    return out.getvalue()


def scans_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: little to send, a pass over all pixels for each."""
    data = image("JPEG", (2000, 2000), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def gif_bomb() -> bytes:
    """A frame of 65,535 by 65,535 on a screen of one pixel."""
    data = bytearray(image("GIF", (1, 1), "P"))
    frame = data.index(b",\0\0\0\0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


def webp_bomb() -> bytes:
    """The header says 16,383 by 16,383."""
    data = bytearray(image("WEBP", (1, 1), lossless=True))
    start = data.index(b"VP8L") + 9
    data[start : start + 4] = struct.pack("<I", 16_382 | 16_382 << 14)
    return bytes(data)


BOMBS = {
    "png": lambda: png_of(30_000, 30_000, b"\0" * 1_000_000),
    "png of 21 million": lambda: png_of(7000, 3000, b"\0" * 63_003_000),
    "jpeg": lambda: _sized_jpeg(65_000, 65_000),
    "gif": gif_bomb,
    "webp": webp_bomb,
}

REFUSED = {
    "empty": lambda: b"",
    "text": lambda: b"no image",
    "svg": lambda: SVG,
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
    "zeros": lambda: bytes(100_000),
    "bmp": lambda: image("BMP"),
    "tiff": lambda: image("TIFF"),
    "ico": lambda: image("ICO"),
    "pdf": lambda: image("PDF"),
    "ppm": lambda: image("PPM"),
    "script that begins as a gif": lambda: b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//;",
    "zip": archive,
    "text bomb": lambda: png_of(1, 1, bytes(4), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20), 9))),
    **{f"truncated {f}": (lambda f=f: noise((60, 60), f)[:-40]) for f in FORMATS},
    **{f"half of a {f}": (lambda f=f: (data := noise((60, 60), f))[: len(data) // 2]) for f in FORMATS},
}


TAKEN = {
    "png and zip": lambda: image() + archive(),
    "jpeg and zip": lambda: image("JPEG") + archive(),
    "gif and zip": lambda: image("GIF") + archive(),
    "webp and zip": lambda: image("WEBP") + archive(),
    "zip inside a png": lambda: png_of(1, 1, bytes(4), chunk(b"zIPs", archive())),
    "jpeg and page": lambda: image("JPEG") + b"<html><script>alert(1)</script>",
    "script in a jpeg's comment": lambda: image("JPEG", comment=b"<?php system($_GET['c']); ?>"),
    "script in a gif's comment": lambda: image("GIF", comment=b"<SCRIPT>alert(1)</SCRIPT>"),
    "script in a png's text": lambda: png_of(1, 1, bytes(4), chunk(b"tEXt", b"a\0<script>alert(1)</script>")),
    "pdf in a png": lambda: png_of(1, 1, bytes(4), chunk(b"tEXt", b"a\0%PDF-1.4")),
    "svg behind a gif": lambda: image("GIF") + SVG,
    "many scans": lambda: scans_bomb(200),
    "jpeg with a gain map": lambda: (
        image("JPEG", xmp=b"<x hdrgm:Version='1.0'/>") + image("JPEG", (10, 8), "L")
    ),
    "motion photo": lambda: image("JPEG") + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 400,
    "samsung trailer": lambda: image("JPEG") + b"\0\0\x01\x0aImage_UTC_Data1700000000000SEFHk\0\0\0SEFT",
    "padding": lambda: image() + b"\0\0\r\n",
    "a png of many exif tags": lambda: many_tags(),
}
"""Whole images with something else in the file, which is dropped."""


def many_tags() -> bytes:
    """60,000 EXIF entries of a type that does not exist: Pillow warns of each."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + n % 4096, 77, 1, n) for n in range(60_000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries + bytes(4)
    return png_of(1, 1, bytes(4), chunk(b"eXIf", exif))


def turned() -> bytes:
    """A JPEG to be turned by 90 degrees, whose EXIF also has a tag with a value of an odd type."""
    make = struct.pack("<HHI4s", 0x010F, 12, 1, b"\x1a\0\0\0")  # a text, declared as a float of 8 bytes
    turn = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + make + turn + bytes(4)
    return image("JPEG", (40, 20), exif=exif)


def wide_png(colour_type: int, pixels: list[tuple[int, ...]], clear: tuple[int, ...]) -> bytes:
    """A PNG of one row with 16 bits per channel, of which one colour is transparent."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(pixels), 1, 16, colour_type, 0, 0, 0))
    row = b"\0" + b"".join(struct.pack(f">{len(pixel)}H", *pixel) for pixel in pixels)
    parts = [
        header,
        chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)),
        chunk(b"IDAT", zlib.compress(row)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _sized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(image("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)
