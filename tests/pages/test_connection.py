"""Phones sleep, lines break and servers restart: no vote is lost, and none counts twice."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.pages.conftest import DESKTOP, Line, Poll, Visit
from tools.harness.http import Api, Person, ok
from tools.harness.process import Server, serving
from tools.harness.websocket import socket

pytestmark = pytest.mark.anyio

AWAKE_SECONDS = 2.0


@asynccontextmanager
async def own(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[tuple[Server, Api, Person, Poll]]:
    """A server of this test's own, with a poll."""
    with serving(folder / "server", settings) as server:
        async with Api(server) as api:
            owner = await api.user()
            yield server, api, owner, await api.poll(owner, guests=True)


async def test_a_vote_without_a_line_is_kept_also_over_a_reload_and_counts_once_it_is_back(
    visit: Visit, api: Api, poll: Poll, line: Line, server: Server
) -> None:
    async with visit(base=line.url) as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.page.locator(".option", has_text="Tea").click()
        await phone.until("Object.keys(localStorage).some(name => name.endsWith(':session'))")
        await line.cut()
        await phone.page.locator(".send button").click()
        await expect(phone.page.locator(".notice.warn")).to_contain_text("kept on this device")
        assert (await api.tally(poll))["voters"] == 0
        await line.restore()
        await phone.page.reload()
        await phone.counted()
        assert (await api.tally(poll))["voters"] == 1


async def test_a_phone_that_comes_back_is_right_within_two_seconds(
    visit: Visit, api: Api, owner: Person, poll: Poll, line: Line
) -> None:
    async with visit(base=line.url) as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        who = await phone.page.evaluate("JSON.parse(localStorage['pollroom:/:session']).user.id")
        line.freeze()
        (await api.vote(owner, poll["id"], [poll["options"][1]["id"]])).fresh()
        began = asyncio.get_running_loop().time()
        await phone.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await phone.sees("Coffee", 1)
        assert asyncio.get_running_loop().time() - began < AWAKE_SECONDS
        await phone.counted()
        assert await phone.page.evaluate("JSON.parse(localStorage['pollroom:/:session']).user.id") == who


async def test_a_lost_line_is_said_after_two_seconds_and_taken_back(
    visit: Visit, poll: Poll, line: Line
) -> None:
    async with visit(base=line.url) as phone, visit(base=line.url, viewport=DESKTOP) as screen:
        await phone.open(f"/p/{poll['code']}")
        await screen.open(f"/p/{poll['code']}/screen")
        await expect(phone.page.locator(".option")).to_have_count(2)
        await expect(screen.page.locator(".foot .state")).to_contain_text("open")
        await line.cut()
        await expect(phone.page.locator(".notice.warn")).to_contain_text("Connection lost")
        await expect(screen.page.locator(".foot .state")).to_contain_text("offline since")
        await expect(screen.page.locator(".foot .code")).to_be_visible()
        await line.restore()
        await phone.page.evaluate("dispatchEvent(new Event('online'))")
        await screen.page.evaluate("dispatchEvent(new Event('online'))")
        await expect(phone.page.locator(".notice.warn")).to_have_count(0)
        await expect(screen.page.locator(".foot .state")).to_contain_text("open")


async def test_a_server_killed_under_a_vote_counts_it_once_when_it_is_back(
    visit: Visit, tmp_path: Path
) -> None:
    async with own(tmp_path, {}) as (server, api, _, poll), visit(base=server.url()) as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.page.locator(".option", has_text="Tea").click()
        server.kill()
        await phone.page.locator(".send button").click()
        await asyncio.to_thread(server.start)
        await phone.page.evaluate("dispatchEvent(new Event('online'))")
        await phone.counted()
        await phone.page.reload()
        await phone.counted()
        assert (await api.tally(poll))["voters"] == 1


async def test_a_vote_that_arrives_after_the_close_is_said_not_to_count(
    visit: Visit, api: Api, owner: Person, poll: Poll, line: Line
) -> None:
    async with visit(base=line.url) as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.page.locator(".option", has_text="Tea").click()
        await phone.until("Object.keys(localStorage).some(name => name.endsWith(':session'))")
        await line.cut()
        await phone.page.locator(".send button").click()
        await expect(phone.page.locator(".notice.warn")).to_be_visible()
        await api.close(owner, poll)
        await line.restore()
        await phone.page.get_by_role("button", name="Try now").click()
        await expect(phone.page.locator(".notice.bad")).to_contain_text(
            "before your vote arrived. It was not counted"
        )
        await expect(phone.page.locator("#alert")).to_contain_text("not counted")


async def test_a_token_that_expires_is_renewed_unseen(visit: Visit, tmp_path: Path) -> None:
    async with (
        own(tmp_path, {"ACCESS_TOKEN_SECONDS": "1"}) as (server, _, __, poll),
        visit(base=server.url()) as phone,
    ):
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        first = await phone.page.evaluate("localStorage['pollroom:/:session']")
        await phone.until(f"localStorage['pollroom:/:session'] !== {first!r}")
        await phone.page.reload()
        await phone.counted()


async def test_somebody_signed_out_is_told_and_makes_no_second_vote(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        token = await phone.page.evaluate("JSON.parse(localStorage['pollroom:/:session']).accessToken")
        ok(await api.post("/auth/logout", None, token), 204)
        await expect(phone.page.locator("#alert")).to_contain_text("signed out")
        await expect(phone.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
        await expect(phone.page.locator(".option")).to_have_count(0)
    assert (await api.tally(poll))["voters"] == 1


async def test_a_full_server_says_so_and_lets_people_in_later(visit: Visit, tmp_path: Path) -> None:
    settings = {"MAX_SOCKETS": "1"}
    async with own(tmp_path, settings) as (server, _, __, poll), visit(base=server.url()) as phone:
        async with socket(server):
            await phone.open(f"/p/{poll['code']}")
            await expect(phone.page.locator(".notice.warn")).to_contain_text("Very many people")
        await expect(phone.page.locator(".option")).to_have_count(2)


BLOCKED = """
    window.opened = 0;
    window.WebSocket = class {
        constructor() {
            window.opened++;
            setTimeout(() => this.onclose?.({ code: 1006 }));
        }
        send() {}
        close() {}
    };
"""


async def test_where_websockets_are_blocked_twice_the_stream_takes_over(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility="after_vote")
    async with visit() as phone, visit(viewport=DESKTOP) as screen:
        for each in (phone, screen):
            await each.context.add_init_script(BLOCKED)
        await screen.open(f"/p/{poll['code']}/screen")
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await phone.sees("Tea", 1)
        (await api.vote(owner, poll["id"], [poll["options"][1]["id"]])).fresh()
        await phone.sees("Coffee", 1)
        await expect(screen.page.locator(".voted")).to_contain_text("2 of")
        await api.close(owner, poll)
        await screen.sees("Coffee", 1)
        assert await phone.page.evaluate("window.opened") == 2
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        await expect(phone.page.get_by_role("heading")).to_contain_text("deleted this poll")
