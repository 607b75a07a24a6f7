"""What a challenge for guests costs: a phone that solves it in a page, and a program that solves it natively.

    scripts/services .venv/bin/python -m bench.challenge

The phone is Chromium slowed down fourfold, as Lighthouse slows it for a mid-range phone. Its time is the CPU time of the page's
main thread.
"""

import asyncio
import hashlib
import secrets
import statistics
import tempfile
import time
from pathlib import Path

from playwright.async_api import async_playwright

from bench.machine import description
from tools.harness.process import serving
from tools.servers import chromium_program
from tools.servers.browser import ARGUMENTS

ROUNDS = 15
SLOWER = 4
NATIVE_HASHES = 500_000
SOLVE = """async () => {
    const { Pollroom } = await import("/pollroom.js");
    const client = new Pollroom({ storage: { get: () => null, set: () => null } });
    await client.guest(true);
}"""


async def page_seconds(url: str) -> list[float]:
    """CPU seconds of the page's main thread for each challenge."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(url)
        session = await page.context.new_cdp_session(page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})

        async def busy() -> float:
            metrics = (await session.send("Performance.getMetrics"))["metrics"]
            return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

        taken = []
        for _ in range(ROUNDS):
            before = await busy()
            await page.evaluate(SOLVE)
            taken.append(await busy() - before)
        await browser.close()
    return taken


def native_hashes_per_second() -> float:
    salt = f"{secrets.token_hex(12)}?expires=1700000000&".encode()
    began = time.process_time()
    for number in range(NATIVE_HASHES):
        hashlib.sha256(salt + b"%d" % number).digest()
    return NATIVE_HASHES / (time.process_time() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "server") as server:
        seconds = asyncio.run(page_seconds(server.url()))
    rate = native_hashes_per_second()
    print(*description(), sep="\n")
    print(
        f"phone: median {1000 * statistics.median(seconds):.0f} ms, mean {1000 * statistics.fmean(seconds):.0f} ms"
    )
    print(f"native, one core: {rate:,.0f} hashes per second, {1000 * 50_000 / rate:.0f} ms for 50,000")


if __name__ == "__main__":
    main()
