"""``.venv/bin/python -m scripts.screenshots FOLDER``: every page in every state, phone and desktop, light and dark, as PNG files.

Starts a server of its own; needs Chromium (``scripts/test`` installs it). Those that docs/pages/ keeps: see ``KEPT``.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tools.harness.http import Api, Person, ok
from tools.harness.process import serving
from tools.harness.wait import ahead
from tools.servers.browser import ARGUMENTS, chromium_program

PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}
DESKTOP = {"width": 1280, "height": 800}
SCREEN = {"width": 1920, "height": 1080}
PUBLIC = {"HOST": "127.0.0.1", "PUBLIC_URL": "https://polls.example.org"}
SETTLE_MS = 400
KEPT = (
    *("home-desktop-light", "home-phone-dark", "new-desktop-light", "run-desktop-light", "run-phone-dark"),
    *("open-phone-light", "counted-phone-light", "counted-phone-dark", "revealed-phone-light"),
    *("screen-open-light", "screen-lobby-dark", "screen-closed-dark"),
)
KEEP_SESSION = """session => {
    const kept = { ...session, renewAt: Date.now() + 600_000 };
    localStorage.setItem("pollroom:/:session", JSON.stringify(kept));
}"""
Poll = dict[str, Any]


class Studio:
    """Takes pictures into ``folder``."""

    def __init__(self, browser: Browser, api: Api, owner: Person, folder: Path) -> None:
        self._browser, self._api, self._owner, self._folder = browser, api, owner, folder

    async def poll(self, **fields: Any) -> Poll:
        body = {
            "question": "Where do we eat?",
            "options": ["Pizza", "Ramen", "Salad"],
            "guests": True,
            "allowChange": True,
        }
        return await self._api.poll(self._owner, **(body | fields))

    async def votes(self, poll: Poll, *numbers: int) -> None:
        for option, number in zip(poll["options"], numbers, strict=False):
            for guest in await self._api.guests(number):
                (await self._api.vote(guest, poll["id"], [option["id"]])).fresh()

    async def act(self, poll: Poll, name: str) -> None:
        ok(await self._api.post(f"/polls/{poll['id']}/{name}", None, self._owner))

    @asynccontextmanager
    async def page(
        self, size: dict[str, int], scheme: str, *, signed_in: bool = False, locale: str = "en-GB"
    ) -> AsyncIterator[Page]:
        context = await self._browser.new_context(
            viewport=size,  # type: ignore[arg-type]
            color_scheme=scheme,  # type: ignore[arg-type]
            locale=locale,
            timezone_id="UTC",
        )
        page = await context.new_page()
        if signed_in:
            session = {
                "user": self._owner.user,
                "accessToken": self._owner.token,
                "refreshToken": self._owner.refresh,
            }
            await page.goto(self.url("/"))
            await page.evaluate(KEEP_SESSION, session)
        yield page
        await context.close()

    def url(self, path: str) -> str:
        return self._api.server.url(0) + path

    async def shoot(self, page: Page, name: str) -> None:
        await page.wait_for_timeout(SETTLE_MS)
        await page.screenshot(path=self._folder / f"{name}.png")

    async def show(self, name: str, path: str, ready: str, **options: Any) -> None:
        """``path`` on a phone and a desktop, light and dark."""
        for size, kind in ((PHONE, "phone"), (DESKTOP, "desktop")):
            for scheme in ("light", "dark"):
                async with self.page(size, scheme, **options) as page:
                    await page.goto(self.url(path))
                    await page.wait_for_selector(ready)
                    await self.shoot(page, f"{name}-{kind}-{scheme}")

    async def screen(self, name: str, poll: Poll, *keys: str) -> None:
        for scheme in ("light", "dark"):
            async with self.page(SCREEN, scheme, signed_in=True) as page:
                await page.goto(self.url(f"/p/{poll['code']}/screen"))
                await page.wait_for_selector(".foot .qr, .lobby .qr")
                for key in keys:
                    await page.keyboard.press(key)
                await self.shoot(page, f"screen-{name}-{scheme}")

    async def vote(self, name: str, poll: Poll, *, chosen: int = 1) -> None:
        """The form, a choice, and what follows, on a phone."""
        for scheme in ("light", "dark"):
            async with self.page(PHONE, scheme) as page:
                await page.goto(self.url(f"/p/{poll['code']}"))
                await page.locator(".option").nth(chosen).click()
                await self.shoot(page, f"chosen-{name}phone-{scheme}")
                await page.locator(".send button").click()
                await page.wait_for_selector(".notice.good")
                await self.shoot(page, f"{name}counted-phone-{scheme}")


async def take(studio: Studio) -> None:
    running = await studio.poll()
    await studio.votes(running, 9, 12, 4)
    hidden = await studio.poll(resultsVisibility="after_close")
    await studio.votes(hidden, 2, 3, 1)
    closed = await studio.poll()
    await studio.votes(closed, 9, 14, 4)
    await studio.act(closed, "close")
    tied = await studio.poll()
    await studio.votes(tied, 3, 3, 1)
    await studio.act(tied, "close")
    kept = await studio.poll(resultsVisibility="owner")
    await studio.act(kept, "close")
    paused = await studio.poll()
    await studio.act(paused, "pause")
    later = await studio.poll(opensAt=ahead(600))
    right = [{"label": "Lyon"}, {"label": "Paris", "correct": True}, {"label": "Nice"}]
    quiz = await studio.poll(question="What is the capital of France?", options=right)
    await studio.votes(quiz, 4, 11, 2)
    many = await studio.poll(
        question="Which of these topics should we talk about in the afternoon, given the time that we have?",
        options=[f"Topic {n}: a longer name than one would wish for" for n in range(1, 13)],
        maxChoices=3,
    )
    await studio.votes(many, 1, 4, 2, 5, 3, 1, 0, 2, 4, 1, 2, 1)
    members = await studio.poll(guests=False)

    await studio.show("home", "/", "#code")
    await studio.show("new", "/host", "#question")
    await studio.show("mine", "/host", ".item", signed_in=True)
    await studio.show("run", f"/host/{running['id']}", ".qr", signed_in=True)
    await studio.show("run-closed", f"/host/{closed['id']}", ".qr", signed_in=True)
    await studio.show("check", f"/p/{closed['code']}/check", ".results")
    await studio.show("unknown", "/p/ZZZZZZ", ".big-sign")
    for name, poll, ready in (
        ("open", running, ".option"),
        ("closed", closed, ".results"),
        ("closed-hidden", kept, ".hidden-result"),
        ("paused", paused, ".notice"),
        ("scheduled", later, ".notice"),
        ("many", many, ".option"),
        ("members", members, "#email"),
    ):
        await studio.show(name, f"/p/{poll['code']}", ready)
    await studio.vote("", running)
    await studio.vote("hidden-", hidden)
    await studio.screen("open", running)
    await studio.screen("lobby", running, "q")
    await studio.screen("scheduled", later)
    await studio.screen("hidden", hidden)
    await studio.screen("closed", closed, "s")
    await studio.screen("tied", tied)
    await studio.screen("many", many)
    await studio.screen("paused", paused)
    await studio.screen("keys", running, "?")
    await studio.screen("sure", running, " ")
    for scheme in ("light", "dark"):
        async with studio.page(PHONE, scheme) as page:
            await page.goto(studio.url(f"/p/{quiz['code']}"))
            await page.locator(".option").nth(1).click()
            await page.locator(".send button").click()
            await page.wait_for_selector(".notice.good")
            if scheme == "dark":
                await studio.act(quiz, "reveal")
            await studio.shoot(page, f"revealed-phone-{scheme}")
    async with studio.page(PHONE, "light") as page:
        await page.goto(studio.url(f"/p/{quiz['code']}"))
        await page.wait_for_selector(".verdict")
        await studio.shoot(page, "revealed-phone-light")
    await studio.screen("revealed", quiz)
    for locale in ("de-DE", "es-ES"):
        async with studio.page(NARROW, "light", locale=locale) as page:
            await page.goto(studio.url(f"/p/{many['code']}"))
            await page.wait_for_selector(".option")
            await studio.shoot(page, f"narrow-{locale[:2]}")
            await page.goto(studio.url("/"))
            await page.wait_for_selector("#code")
            await studio.shoot(page, f"narrow-home-{locale[:2]}")


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, serving(Path(data), PUBLIC) as server:
        async with Api(server) as api, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
            await take(Studio(browser, api, await api.user(), folder))
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
