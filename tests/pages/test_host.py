"""A host makes a poll, shows it and runs it."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.images.samples import image
from tests.pages.conftest import DESKTOP, Visit, Visitor
from tools.harness.http import Api
from tools.harness.process import Server, serving

pytestmark = pytest.mark.anyio


async def start(
    host: Visitor,
    question: str = "Where do we eat?",
    options: str = "Pizza\nRamen",
    *,
    open_page: bool = True,
) -> str:
    """Four fields; the poll's code."""
    if open_page:
        await host.open("/host")
    await host.page.get_by_label("E-mail").fill(Api.email())
    await host.page.get_by_label("Password").fill("a battery staple")
    await host.page.get_by_label("Question").fill(question)
    await host.page.get_by_label("Answers").fill(options)
    await host.page.get_by_role("button", name="Start").click()
    await expect(host.page.get_by_role("heading", name=question)).to_be_visible()
    code = await host.page.locator(".share .huge").text_content()
    return str(code).replace(" ", "")


async def test_four_fields_make_a_running_poll_that_a_phone_votes_in(visit: Visit) -> None:
    async with visit(viewport=DESKTOP) as host, visit() as phone:
        code = await start(host)
        await phone.open(f"/p/{code}")
        await phone.vote("Ramen")
        await phone.counted()
        await expect(host.page.locator(".tallied")).to_contain_text("1")
        await host.page.reload()  # the running poll, not the set-up page
        await host.sees("Ramen", 1)
        await host.page.get_by_role("button", name="Close voting").click()
        await expect(host.page.get_by_role("alertdialog")).to_contain_text("Closing is final. 1 vote.")
        await host.page.get_by_role("button", name="Close voting").last.click()
        await expect(phone.page.get_by_role("heading", name="Result")).to_be_visible()


async def test_hiding_takes_the_bars_from_the_hall_and_not_from_the_host(visit: Visit) -> None:
    async with visit(viewport=DESKTOP) as host, visit(viewport=DESKTOP) as hall:
        code = await start(host)
        screen = await host.tab()
        await screen.open(f"/p/{code}/screen")  # on the host's own computer
        await hall.open(f"/p/{code}/screen")
        await expect(hall.page.locator(".fill")).to_have_count(2)
        await screen.page.keyboard.press("h")
        for each in (screen, hall):
            await expect(each.page.locator(".voted")).to_contain_text("Results are hidden")
            await expect(each.page.locator(".fill")).to_have_count(0)
        await expect(host.page.locator(".fill")).to_have_count(2)
        await hall.page.keyboard.press("h")  # a stranger's key does nothing
        await screen.page.keyboard.press("h")
        await expect(hall.page.locator(".fill")).to_have_count(2)
        await screen.page.keyboard.press(" ")
        sure = screen.page.get_by_role("alertdialog")
        await expect(sure).to_contain_text("Closing is final")
        await expect(sure.get_by_role("button").first).to_be_focused()
        await screen.page.keyboard.press("Enter")
        await expect(hall.page.locator(".voted")).to_contain_text("Final")


async def test_wrong_fields_are_named_and_nothing_that_was_typed_is_lost(visit: Visit) -> None:
    async with visit(viewport=DESKTOP) as host:
        await host.open("/host")
        await host.page.get_by_label("E-mail").fill(Api.email())
        await host.page.get_by_label("Password").fill("a battery staple")
        await host.page.get_by_label("Question").fill("Well?")
        await host.page.get_by_label("Answers").fill("Only one")
        await host.page.get_by_role("button", name="Start").click()
        await expect(host.page.locator(".wrong")).to_contain_text("at least two answers")
        await host.page.get_by_label("Answers").fill("Same\nSame")
        await host.page.get_by_role("button", name="Start").click()
        await expect(host.page.locator(".wrong")).to_contain_text("different answers")
        await expect(host.page.get_by_label("Question")).to_have_value("Well?")
        await host.page.get_by_label("Answers").fill("Same\nOther")
        await host.page.get_by_role("button", name="Start").click()
        await expect(host.page.locator(".share .huge")).to_be_visible()


async def test_nobody_is_sent_to_localhost(visit: Visit, tmp_path: Path) -> None:
    async with visit(viewport=DESKTOP) as host:
        code = await start(host)
        await expect(host.page.locator(".share .notice")).to_contain_text("Only this computer")
        await expect(host.page.locator(".share .qr")).to_have_count(0)
        screen = await host.tab()
        await screen.open(f"/p/{code}/screen")
        await expect(screen.page.locator(".foot .warning")).to_be_visible()
    with serving(tmp_path, {"HOST": "0.0.0.0", "PUBLIC_URL": "https://polls.example/room"}) as server:
        async with visit(viewport=DESKTOP, base=server.url()) as host:
            code = await start(host)
            await expect(host.page.locator(".share .link")).to_have_text(f"polls.example/room/p/{code}")
            await expect(host.page.locator(".share .qr")).to_be_visible()


async def test_an_option_gets_an_image_that_phones_show(visit: Visit, server: Server) -> None:
    async with visit(viewport=DESKTOP) as host, visit() as phone:
        code = await start(host)
        await host.page.get_by_text("Images and right answers").click()
        picture = {"name": "pizza.png", "mimeType": "image/png", "buffer": image(size=(64, 64))}
        await host.page.locator("input[type=file]").first.set_input_files([picture])
        await expect(host.page.locator(".item img")).to_have_count(1)
        await phone.open(f"/p/{code}")
        await phone.until("document.querySelector('.option img')?.naturalWidth > 0")


async def test_signing_out_and_in_again_shows_ones_polls(visit: Visit) -> None:
    async with visit(viewport=DESKTOP) as host:
        await host.open("/host")
        email = Api.email()
        await host.page.get_by_label("E-mail").fill(email)
        await host.page.get_by_label("Password").fill("a battery staple")
        await host.page.get_by_label("Question").fill("Kept?")
        await host.page.get_by_label("Answers").fill("Yes\nNo")
        await host.page.get_by_role("button", name="Start").click()
        await expect(host.page.locator(".share .huge")).to_be_visible()
        await host.page.get_by_role("button", name="Sign out").click()
        await host.page.get_by_role("button", name="Sign in").click()
        await host.page.get_by_label("E-mail").fill(email)
        await host.page.get_by_label("Password").fill("a battery staple")
        await host.page.locator("form").get_by_role("button", name="Sign in").click()
        await expect(host.page.locator(".item")).to_contain_text("Kept?")


async def test_pausing_keeps_the_choice_and_revealing_tells_everybody(visit: Visit) -> None:
    async with visit(viewport=DESKTOP) as host, visit() as phone, visit(viewport=DESKTOP) as screen:
        code = await start(host)
        await host.page.get_by_text("Images and right answers").click()
        await host.page.get_by_role("checkbox").nth(1).check()
        await phone.open(f"/p/{code}")
        await screen.open(f"/p/{code}/screen")
        await phone.page.locator(".option", has_text="Pizza").click()
        await host.page.get_by_role("button", name="Pause").click()
        await expect(phone.page.locator(".notice.warn")).to_contain_text("Voting is paused")
        await expect(phone.page.locator(".option", has_text="Pizza").locator("input")).to_be_checked()
        await host.page.get_by_role("button", name="Go on").click()
        await expect(phone.page.locator(".notice.warn")).to_have_count(0)
        await phone.page.locator(".send button").click()
        await phone.counted()
        await host.page.get_by_role("button", name="Reveal the answer").click()
        await host.page.get_by_role("alertdialog").get_by_role("button", name="Reveal the answer").click()
        await expect(phone.page.locator(".notice")).to_contain_text("Not quite")
        await expect(phone.page.locator(".result", has_text="Ramen").locator(".verdict")).to_have_text(
            "✓ right"
        )
        await expect(screen.page.locator(".rows li", has_text="Ramen").locator(".verdict")).to_have_text(
            "✓ right"
        )
        await host.page.get_by_role("button", name="Another round").click()
        await host.page.wait_for_url(lambda url: code not in url)
        await expect(host.page.locator(".share .huge")).not_to_contain_text(code)
