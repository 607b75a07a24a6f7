"""Callers who ask for the same thing at once share one task."""

import asyncio
import gc
from typing import Any

import pytest

from app.utils.single_flight import SingleFlight

pytestmark = pytest.mark.anyio


async def test_callers_at_the_same_time_share_one_run() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    assert await asyncio.gather(flight.run("a", work), flight.run("a", work)) == [1, 1]
    assert await flight.run("a", work) == 2


async def test_keys_do_not_wait_for_each_other() -> None:
    flight: SingleFlight[str, str] = SingleFlight()
    go_on = asyncio.Event()

    async def wait() -> str:
        await go_on.wait()
        return "a"

    async def answer() -> str:
        return "b"

    waiting = asyncio.create_task(flight.run("a", wait))
    await asyncio.sleep(0)
    assert await flight.run("b", answer) == "b"
    go_on.set()
    assert await waiting == "a"


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    flight: SingleFlight[str, int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def answer() -> int:
        return 1

    first, second = await asyncio.gather(flight.run("a", fail), flight.run("a", fail), return_exceptions=True)
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert await flight.run("a", answer) == 1


async def test_a_cancelled_caller_leaves_the_run_to_the_others() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    go_on = asyncio.Event()

    async def work() -> int:
        await go_on.wait()
        return 1

    impatient = asyncio.create_task(flight.run("a", work))
    patient = asyncio.create_task(flight.run("a", work))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    go_on.set()
    assert await patient == 1


async def test_a_failure_after_every_caller_was_cancelled_is_not_reported_as_unretrieved() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def fail() -> int:
        try:
            await go_on.wait()
            raise ValueError("no")
        finally:
            ended.set()

    caller = asyncio.create_task(flight.run("a", fail))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    go_on.set()
    await ended.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_closing_ends_what_runs() -> None:
    flight: SingleFlight[str, None] = SingleFlight()

    async def wait() -> None:
        await asyncio.Event().wait()

    caller = asyncio.create_task(flight.run("a", wait))
    await asyncio.sleep(0)
    await flight.close()
    assert isinstance((await asyncio.gather(caller, return_exceptions=True))[0], asyncio.CancelledError)
