"""Keyboard alone, screen readers, small and large text, colours, languages, weight."""

import json
import re

import pytest
from playwright.async_api import expect

from tests.pages.conftest import DESKTOP, PHONE, Poll, Visit, Visitor
from tools.harness.http import Api, Person

pytestmark = pytest.mark.anyio

MOST_BYTES = 60 * 1024


async def every_page(api: Api, owner: Person, poll: Poll) -> list[str]:
    closed = await api.poll(owner, guests=True)
    (await api.vote(owner, closed["id"], [closed["options"][0]["id"]])).fresh()
    await api.close(owner, closed)
    hidden = await api.poll(owner, guests=True, resultsVisibility="owner")
    later = await api.poll(owner, guests=True, opensAt="2099-01-01T00:00:00Z")
    return [
        *("/", "/host", "/p/ZZZZZZ", f"/p/{poll['code']}", f"/p/{closed['code']}", f"/p/{hidden['code']}"),
        *(f"/p/{later['code']}", f"/p/{poll['code']}/embed", f"/p/{closed['code']}/check"),
        *(f"/p/{each['code']}/screen" for each in (poll, closed, hidden, later)),
    ]


async def drawn(visitor: Visitor, path: str) -> None:
    await visitor.open(path)
    await expect(visitor.page.locator("h1").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(
    visit: Visit, api: Api, owner: Person, poll: Poll, scheme: str
) -> None:
    async with visit(color_scheme=scheme) as visitor:
        faults = {}
        for path in await every_page(api, owner, poll):
            await drawn(visitor, path)
            if found := await visitor.faults():
                faults[path] = found
        await visitor.open(f"/p/{poll['code']}")
        await visitor.vote("Tea")
        await visitor.counted()
        if found := await visitor.faults():
            faults["counted"] = found
        assert not faults, json.dumps(faults, indent=1)


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_nothing_is_wider_than_the_window(visit: Visit, api: Api, owner: Person, width: int) -> None:
    poll = await api.poll(
        owner, guests=True, question="A" + "very" * 40 + " long word?", options=["x" * 120, "Coffee"]
    )
    async with visit(viewport={"width": width, "height": 640}) as visitor:
        for path in await every_page(api, owner, poll):
            await drawn(visitor, path)
            wide = await visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, path


async def test_from_code_to_counted_vote_by_keyboard_alone(visit: Visit, poll: Poll) -> None:
    async with visit(viewport=DESKTOP) as visitor:
        keys = visitor.page.keyboard
        await visitor.open("/")
        await expect(visitor.page.get_by_label("Code")).to_be_focused()
        await keys.type(f"{poll['code'][:3]} {poll['code'][3:]}".lower())
        await keys.press("Enter")
        await expect(visitor.page.locator(".option")).to_have_count(2)
        for _ in range(6):
            await keys.press("Tab")
            if await visitor.page.evaluate("document.activeElement.type === 'radio'"):
                break
        await keys.press("Space")
        await keys.press("ArrowDown")
        await keys.press("Tab")
        await keys.press("Enter")
        await visitor.counted()
        await visitor.sees("Coffee", 1)


async def test_the_sticky_button_never_covers_what_has_the_focus(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True, options=[f"Choice {n}" for n in range(20)], maxChoices=20)
    async with visit(viewport={"width": 320, "height": 480}) as visitor:
        await visitor.open(f"/p/{poll['code']}")
        await expect(visitor.page.locator(".option")).to_have_count(20)
        for _ in range(24):
            await visitor.page.keyboard.press("Tab")
            covered = await visitor.page.evaluate(
                """() => {
                    const input = document.activeElement;
                    if (!input.closest('.option')) return false;
                    const bar = document.querySelector('.send button').getBoundingClientRect();
                    return input.getBoundingClientRect().bottom > bar.top;
                }"""
            )
            assert not covered


async def test_a_screen_reader_hears_results_as_a_list_and_news_once(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True)
    async with visit() as phone:
        await phone.context.add_init_script(
            """addEventListener('DOMContentLoaded', () => {
                window.heard = [];
                new MutationObserver(() => {
                    const text = document.querySelector('#status').textContent;
                    if (text) window.heard.push(text);
                }).observe(document.querySelector('#status'), { childList: true });
            })"""
        )
        await phone.open(f"/p/{poll['code']}")
        group = phone.page.get_by_role("group", name="Choose one")
        await expect(group.get_by_role("radio", name="Tea")).to_be_visible()
        await phone.vote("Tea")
        await phone.counted()
        results = phone.page.get_by_role("list", name="Results so far").get_by_role("listitem")
        await expect(results).to_have_text(
            [re.compile("Tea.*your choice.*100%.*1 vote"), re.compile("Coffee.*0%.*0 votes")]
        )
        for person in await api.guests(12):
            (await api.vote(person, poll["id"], [poll["options"][1]["id"]])).fresh()
        await phone.sees("Coffee", 12)
        await api.close(owner, poll)
        await expect(phone.page.locator("#status")).to_contain_text("closed")
        heard = await phone.page.evaluate("window.heard")
        assert sum("Your vote is counted" in text for text in heard) == 1
        assert len(heard) <= 5, heard  # the question, the vote, at most one result, the close


async def test_results_move_without_animation_where_motion_is_reduced(visit: Visit, poll: Poll) -> None:
    async with visit(reduced_motion="reduce") as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        assert (
            await phone.page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionDuration")
            == "0s"
        )


async def test_bars_are_seen_where_colours_are_forced(visit: Visit, poll: Poll) -> None:
    async with visit(forced_colors="active") as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        style = "getComputedStyle(document.querySelector('.track')).borderTopStyle"
        assert await phone.page.evaluate(style) == "solid"


@pytest.mark.parametrize(("locale", "word"), [("de-DE", "Abstimmen"), ("es-ES", "Votar"), ("fr-FR", "Vote")])
async def test_the_page_speaks_the_browsers_language(
    visit: Visit, poll: Poll, locale: str, word: str
) -> None:
    async with visit(locale=locale) as phone:
        await phone.open(f"/p/{poll['code']}")
        await expect(phone.page.locator(".send button")).to_have_text(word)
        assert await phone.page.evaluate("document.documentElement.lang") == (
            locale[:2] if locale != "fr-FR" else "en"
        )


async def test_what_people_wrote_keeps_its_own_direction(visit: Visit, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True, question="מה נאכל?", options=["פיצה", "Ramen"])
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        directions = "[...document.querySelectorAll('h1, .option .label')].map(each => getComputedStyle(each).direction)"
        await expect(phone.page.locator(".option")).to_have_count(2)
        assert await phone.page.evaluate(directions) == ["rtl", "rtl", "ltr"]


async def test_the_phones_page_is_light_and_soon_usable_on_a_slow_one(visit: Visit, poll: Poll) -> None:
    async with visit(viewport=PHONE) as phone:
        client = await phone.context.new_cdp_session(phone.page)
        await client.send("Network.enable")
        await client.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        sizes: list[float] = []
        client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        await phone.open(f"/p/{poll['code']}")
        await expect(phone.page.locator(".option")).to_have_count(2)
        assert 0 < sum(sizes) < MOST_BYTES


async def test_the_screens_keys_need_alt_once_single_ones_are_off(visit: Visit, poll: Poll) -> None:
    async with visit(viewport=DESKTOP) as screen:
        await screen.open(f"/p/{poll['code']}/screen")
        keys, large = screen.page.keyboard, screen.page.locator(".lobby")
        await expect(screen.page.locator(".chart")).to_be_visible()
        await keys.press("q")
        await expect(large).to_be_visible()
        await keys.press("q")
        await expect(large).to_have_count(0)
        await keys.press("?")
        await screen.page.get_by_label("Single keys work without Alt").uncheck()
        await screen.page.get_by_role("button", name="Back").click()
        await keys.press("q")
        await expect(large).to_have_count(0)
        await keys.press("Alt+q")
        await expect(large).to_be_visible()
