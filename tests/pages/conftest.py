"""A real Chromium, people in it, and a way to freeze their connection."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.plugin import needing_services
from tools.harness.http import Api
from tools.harness.process import Server
from tools.harness.wait import eventually
from tools.servers import chromium_program
from tools.servers.browser import ARGUMENTS

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
AWAY = re.compile(r"WebSocket connection to|net::ERR_|status of (401|403|404|409|422|429|503)")
"""What a browser itself says of a server that is away, or refuses."""
WAIT_MS = 15_000
LAUNCH_MS = 60_000

expect.set_options(timeout=WAIT_MS)
Poll = dict[str, Any]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    with needing_services():
        program = chromium_program()
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=LAUNCH_MS)
        yield found
        await found.close()


@dataclass
class Visitor:
    """One browser profile: a phone or a computer. ``said``: complaints of its console and uncaught errors."""

    context: BrowserContext
    page: Page
    base: str
    said: list[str] = field(default_factory=list)

    async def open(self, path: str) -> "Visitor":
        await self.page.goto(self.base + path)
        return self

    async def tab(self) -> "Visitor":
        """Another tab of the same person."""
        found = Visitor(self.context, await self.context.new_page(), self.base, self.said)
        found.listen()
        return found

    def listen(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda message: message.type == "error" and self.hear(message.text))
        self.page.on("pageerror", lambda error: self.hear(str(error)))

    def hear(self, text: str) -> None:
        if not AWAY.search(text):
            self.said.append(text)

    async def vote(self, *labels: str) -> None:
        for label in labels:
            await self.page.locator(".option", has_text=label).click()
        await self.page.locator(".send button").click()

    async def counted(self) -> None:
        await expect(self.page.locator(".notice.good")).to_be_visible()

    async def sees(self, label: str, votes: int) -> None:
        row = self.page.locator(".result, .rows li", has_text=label)
        await expect(row.locator(".votes")).to_contain_text(str(votes))

    async def faults(self) -> list[str]:
        """What axe-core finds, as rule and element."""
        await self.page.evaluate(AXE)
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = await self.page.evaluate("tags => axe.run({ runOnly: tags })", tags)
        return [
            f"{fault['id']}: {node['html'][:120]}" for fault in found["violations"] for node in fault["nodes"]
        ]

    async def until(self, expression: str) -> None:
        """The policy forbids Playwright's own way, which compiles text in the page."""
        await eventually(partial(self.page.evaluate, expression), bool, WAIT_MS / 1000, expression)


Visit = Callable[..., AbstractAsyncContextManager[Visitor]]


@asynccontextmanager
async def visiting(
    browser: Browser, default: str, base: str | None = None, **options: Any
) -> AsyncIterator[Visitor]:
    """Somebody new. Fails at the end where the page complained: a wrong policy, an uncaught error."""
    settings = {"viewport": PHONE, "locale": "en-GB", "color_scheme": "light"} | options
    context = await browser.new_context(**settings)
    visitor = Visitor(context, await context.new_page(), base or default)
    visitor.listen()
    try:
        yield visitor
        assert not visitor.said, visitor.said
    finally:
        await context.close()


@pytest.fixture
def visit(browser: Browser, server: Server) -> Visit:
    """``async with visit() as phone``: also with ``base``, ``viewport``, ``color_scheme`` and other options of a context."""
    return partial(visiting, browser, server.url())


@pytest.fixture
async def poll(api: Api, owner: Any) -> Poll:
    return await api.poll(owner, guests=True)


class Line:
    """TCP between a browser and a server: it can freeze (open, nothing passes) and be cut (nobody listens)."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._passing = asyncio.Event()
        self._passing.set()
        self._pairs: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def restore(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        pairs = list(self._pairs)
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)

    def freeze(self) -> None:
        """The connections of now pass nothing any more; new ones do."""
        self._passing.clear()
        self._passing = asyncio.Event()
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        passing = self._passing
        far_writer = None
        try:
            far, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
            ways = [
                asyncio.create_task(_pass(reader, far_writer, passing)),
                asyncio.create_task(_pass(far, writer, passing)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()
            self._pairs.discard(task)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
    while data := await reader.read(65536):
        await passing.wait()
        writer.write(data)
        await writer.drain()


@pytest.fixture
async def line(server: Server) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        found = Line(int(server.url().rpartition(":")[2]))
        await found.restore()
        stack.push_async_callback(found.cut)
        yield found
