"""What the decoder makes of the bytes of an upload."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from app.adapters.image_decoder import MAX_PIXELS_ELSE, OK, TOO_LARGE, UNSUPPORTED, answer, shrink
from tests.images.samples import (
    BOMBS,
    FORMATS,
    REFUSED,
    TAKEN,
    image,
    noise,
    opened,
    png_of,
    turned,
    wide_png,
)

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


def both(data: bytes) -> tuple[Image.Image, Image.Image]:
    large, small = map(opened, shrink(data))
    assert large.format == small.format == "WEBP"
    return large, small


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_becomes_webp_of_both_sizes(format: str) -> None:
    large, small = both(image(format, (3000, 1500), colour=(200, 30, 30)))
    assert (large.size, small.size) == ((1024, 512), (256, 128))
    red, green, blue = large.convert("RGB").getpixel((500, 250))  # type: ignore[misc]
    assert red > 180
    assert green < 60
    assert blue < 60


def test_the_longest_side_counts_and_nothing_is_enlarged() -> None:
    assert [each.size for each in both(image(size=(500, 2048)))] == [(250, 1024), (62, 256)]
    assert [each.size for each in both(image(size=(300, 200)))] == [(300, 200), (256, 171)]
    assert [each.size for each in both(image(size=(1, 1)))] == [(1, 1), (1, 1)]
    assert [each.size for each in both(image(size=(20_000, 1)))] == [(1024, 1), (256, 1)]


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 128, (128, 128, 128)),
        ("LA", (128, 255), (128, 128, 128)),
        ("P", 0, (0, 0, 0)),
        ("RGBA", (0, 0, 255, 255), (0, 0, 255)),
        ("I;16", 128 * 256, (128, 128, 128)),
    ],
)
def test_every_mode_of_png_keeps_its_colour(mode: str, colour: Any, seen: tuple[int, ...]) -> None:
    pixel = both(image("PNG", (50, 50), mode, colour))[0].convert("RGB").getpixel((25, 25))
    assert all(abs(a - b) < 12 for a, b in zip(pixel, seen, strict=True)), pixel  # type: ignore[arg-type]


def test_cmyk_jpeg_becomes_rgb() -> None:
    large, _ = both(image("JPEG", mode="CMYK", colour=(0, 0, 0, 0)))
    assert large.mode == "RGB"
    assert min(large.getpixel((5, 5))) > 240  # type: ignore[type-var, arg-type]


@pytest.mark.parametrize(
    "data",
    [
        image("PNG", (600, 600), "RGBA", (255, 0, 0, 0)),
        image("PNG", (600, 600), "P", 0, transparency=0),
        image("GIF", (600, 600), "P", 0, transparency=0),
        image("WEBP", (600, 600), "RGBA", (255, 0, 0, 0)),
        image("PNG", (600, 600), "RGB", (1, 2, 3), transparency=(1, 2, 3)),
    ],
    ids=["rgba", "palette", "gif", "webp", "rgb"],
)
def test_what_is_clear_stays_clear(data: bytes) -> None:
    for each in both(data):
        assert each.mode == "RGBA"
        assert each.getpixel((10, 10))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_moving_ones_the_first_frame(format: str) -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "green", "blue")]
    frames[0].save(out, format, save_all=True, append_images=frames[1:], duration=100)
    large, small = both(out.getvalue())
    assert getattr(large, "n_frames", 1) == 1
    assert large.convert("RGB").getpixel((30, 30))[0] > 200  # type: ignore[index]
    assert small.convert("RGB").getpixel((30, 30))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_it_stands_upright_and_metadata_goes(format: str) -> None:
    picture = Image.new("RGB", (1200, 800), "white")
    ImageDraw.Draw(picture).rectangle((0, 0, 600, 400), "black")  # upper left; turned to upper right
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera of somebody"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
    out = io.BytesIO()
    picture.save(out, format, exif=exif, icc_profile=b"profile of somebody", xmp=b"<x:of-somebody/>")
    assert b"of somebody" in out.getvalue()
    encoded = shrink(out.getvalue())
    large = opened(encoded[0]).convert("L")
    assert large.size == (683, 1024)
    assert large.getpixel((600, 100)) < 40  # type: ignore[operator]
    assert large.getpixel((100, 100)) > 200  # type: ignore[operator]
    for data in encoded:
        assert b"somebody" not in data
        assert not any(tag in data for tag in (b"EXIF", b"ICCP", b"XMP "))
        assert not opened(data).getexif()


def test_several_shots_in_one_jpeg_are_taken_as_cameras_write_them() -> None:
    out = io.BytesIO()
    first = Image.new("RGB", (60, 60), "red")
    first.save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (60, 60), "blue")])
    large, _ = both(out.getvalue())
    assert large.getpixel((30, 30))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_whole_image_is_unsupported(name: str) -> None:
    assert answer(REFUSED[name]())[0] == UNSUPPORTED


@pytest.mark.parametrize("name", list(TAKEN))
def test_an_image_is_taken_and_the_rest_of_the_file_is_dropped(name: str) -> None:
    for encoded in shrink(TAKEN[name]()):
        opened(encoded)
        assert int.from_bytes(encoded[4:8], "little") + 8 == len(encoded)
        assert not any(word in encoded for word in (b"<", b"%PDF", b"PK\x05", b"ftyp", b"SEF"))


def test_a_photo_is_turned_although_another_exif_tag_has_an_odd_type() -> None:
    assert both(turned())[0].size == (20, 40)


@pytest.mark.parametrize(
    ("colour_type", "pixels", "clear"),
    [
        (0, [(40_000,), (40_001,)], (40_001,)),
        (2, [(40_000, 1000, 1000), (1000, 1000, 60_000)], (1000, 1000, 60_000)),
    ],
    ids=["grey", "rgb"],
)
def test_a_png_of_16_bits_keeps_its_transparent_colour(
    colour_type: int, pixels: list[tuple[int, ...]], clear: tuple[int, ...]
) -> None:
    large, _ = both(wide_png(colour_type, pixels, clear))
    assert [large.getpixel((x, 0))[3] for x in (0, 1)] == [255, 0]  # type: ignore[index]


@pytest.mark.parametrize("name", list(BOMBS))
def test_too_many_pixels(name: str) -> None:
    data = BOMBS[name]()
    assert len(data) < 300_000
    assert answer(data)[0] == TOO_LARGE


def test_as_many_pixels_as_allowed() -> None:
    assert MAX_PIXELS_ELSE == 5000 * 4000
    rows = b"".join(b"\0" + bytes(15_000) for _ in range(4000))
    assert both(png_of(5000, 4000, rows))[0].size == (1024, 819)
    assert both(image("JPEG", (8000, 5000)))[0].size == (1024, 640)


@settings(max_examples=150, deadline=None)
@given(
    format=st.sampled_from(FORMATS),
    at=st.floats(0, 1, exclude_max=True),
    new=st.binary(max_size=12),
    gone=st.integers(0, 12),
)
def test_whatever_is_changed_it_is_an_image_or_refused(format: str, at: float, new: bytes, gone: int) -> None:
    data = noise((40, 30), format)
    place = int(at * len(data))
    assert answer(data[:place] + new + data[place + gone :])[0] in (OK, UNSUPPORTED, TOO_LARGE)


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBP"]),
    rest=st.binary(max_size=300),
)
def test_noise_behind_a_signature_is_refused(start: bytes, rest: bytes) -> None:
    assert answer(start + rest)[0] in (UNSUPPORTED, TOO_LARGE)


# Prints by how many MiB the largest image that is taken raised the process's peak.
PEAK = """
import io, sys
from app.adapters.image_decoder import shrink

def peak():
    return next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

data = sys.stdin.buffer.read()
before = peak()
try:
    shrink(data)
except Exception as error:
    print(repr(error), file=sys.stderr)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (lambda: image("WEBP", (5000, 4000), "RGBA", (1, 2, 3, 100), method=0), 450),
        (lambda: image("PNG", (5000, 4000), "RGBA", (1, 2, 3, 100)), 300),
        (lambda: image("JPEG", (8000, 5000), progressive=True), 300),
        *((bomb, 100) for bomb in BOMBS.values()),
    ],
    ids=["webp", "png", "jpeg", *(f"bomb {name}" for name in BOMBS)],
)
def test_memory_is_bounded(data: Any, most: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PEAK]
    done = subprocess.run(command, input=data(), capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) < most, done.stderr
