"""Images are decoded in processes of their own, and nothing that happens there reaches the server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psutil
import pytest

from app.adapters import image_processes
from app.adapters.image_processes import ImageProcesses
from app.domain.errors import PollroomError
from tests.images.samples import BOMBS, REFUSED, image, many_tags, noise, scans_bomb
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio

HOSTILE = b"\xff\xd8" + b"\xff" * 33_000 + b"\0"
"""A scan for JPEG markers by regular expression took ten seconds for these bytes."""


@asynccontextmanager
async def processes(**settings: float) -> AsyncIterator[ImageProcesses]:
    found = ImageProcesses(**settings)
    try:
        yield found
    finally:
        await found.close()


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it may end meanwhile
            if "image_decoder.py" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def gone() -> bool:
    return not children()


async def code(work: ImageProcesses, data: bytes) -> str:
    with pytest.raises(PollroomError) as caught:
        await work.shrink(data)
    return caught.value.code


async def test_one_process_serves_many_images_and_ends_with_the_server() -> None:
    async with processes() as work:
        for _ in range(3):
            assert [part[:4] for part in await work.shrink(image())] == [b"RIFF", b"RIFF"]
        assert len(children()) == 1
    await eventually(gone, bool)


async def test_refusals_are_told_apart_and_the_process_goes_on() -> None:
    async with processes() as work:
        assert await code(work, REFUSED["text"]()) == "UNSUPPORTED_MEDIA"
        assert await code(work, BOMBS["gif"]()) == "TOO_LARGE"
        assert await code(work, HOSTILE) == "UNSUPPORTED_MEDIA"
        assert await work.shrink(image())
        assert len(children()) == 1


async def test_no_more_processes_than_slots() -> None:
    async with processes() as work:
        await asyncio.gather(*(work.shrink(noise((300, 300))) for _ in range(8)))
        assert len(children()) <= image_processes.SLOTS


async def test_a_killed_process_costs_its_own_image_alone() -> None:
    async with processes() as work:
        await work.shrink(image())
        (child,) = children()
        child.send_signal(signal.SIGSTOP)
        asked = asyncio.create_task(work.shrink(image()))
        await asyncio.sleep(0)
        child.kill()
        with pytest.raises(PollroomError):
            await asked
        assert await work.shrink(image())


async def test_an_image_that_takes_too_long_ends_with_its_process() -> None:
    async with processes() as work:
        await work.shrink(image())
    async with processes(image_seconds=0.05) as work:
        assert await code(work, scans_bomb(200)) == "UNAVAILABLE"
        await eventually(gone, bool)


async def test_a_process_is_replaced_after_so_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_processes, "IMAGES_PER_PROCESS", 2)
    async with processes() as work:
        await work.shrink(image())
        (first,) = children()
        await work.shrink(image())
        await eventually(gone, bool)
        await work.shrink(image())
        assert children() != [first]


async def test_a_process_at_rest_ends() -> None:
    async with processes(idle_seconds=0.05) as work:
        await work.shrink(image())
        await eventually(gone, bool)
        assert await work.shrink(image())


async def test_an_upload_that_was_given_up_ends_its_process() -> None:
    async with processes() as work:
        await work.shrink(image())
        asked = asyncio.create_task(work.shrink(scans_bomb(200)))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await eventually(gone, bool)
        assert await work.shrink(image())


async def test_what_a_decoder_says_does_not_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    async with processes() as work:
        await work.shrink(many_tags())
    written = capfd.readouterr()
    assert len(written.out) + len(written.err) < 1000


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="limits of Linux")
async def test_a_process_has_limits_of_memory_and_a_low_priority() -> None:
    async with processes() as work:
        await work.shrink(image())
        (child,) = children()
        assert child.rlimit(psutil.RLIMIT_AS)[0] == 1 << 30
        assert child.rlimit(psutil.RLIMIT_CPU)[0] <= 12
        assert child.nice() >= 10
