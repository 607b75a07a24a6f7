"""People vote on their phones and watch the screen."""

import re

import pytest
from playwright.async_api import expect

from tests.pages.conftest import DESKTOP, Poll, Visit
from tools.harness.http import Api, Person, ok

pytestmark = pytest.mark.anyio


async def test_two_people_and_a_screen_see_each_others_votes(visit: Visit, poll: Poll) -> None:
    async with visit() as ada, visit() as bob, visit(viewport=DESKTOP) as screen:
        await screen.open(f"/p/{poll['code']}/screen")
        await ada.open(f"/p/{poll['code']}")
        await bob.open(f"/p/{poll['code'].lower()}")
        await ada.vote("Tea")
        await ada.counted()
        for each in (ada, screen):
            await each.sees("Tea", 1)
        await bob.vote("Coffee")
        for each in (ada, bob, screen):
            await each.sees("Coffee", 1)
        await expect(screen.page.locator(".voted")).to_contain_text("2 of 3 here have voted")


async def test_twenty_taps_five_reloads_and_two_tabs_are_one_vote(visit: Visit, api: Api, poll: Poll) -> None:
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.page.locator(".option", has_text="Tea").click()
        await phone.page.evaluate(
            "for (let n = 0; n < 20; n++) document.querySelector('.send button')?.click()"
        )
        await phone.counted()
        for _ in range(5):
            await phone.page.reload()
            await phone.counted()
        other = await phone.tab()
        await other.open(f"/p/{poll['code']}")
        await other.counted()
        await expect(other.page.locator(".notice.good")).to_contain_text("Tea")
    assert (await api.tally(poll))["voters"] == 1


async def test_who_may_change_changes_and_the_last_vote_counts(visit: Visit, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True, allowChange=True)
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await phone.page.get_by_role("button", name="Change my vote").click()
        await phone.vote("Coffee")
        await expect(phone.page.locator(".notice.good")).to_contain_text("Only your last vote counts")
        await phone.sees("Tea", 0)
        await phone.sees("Coffee", 1)


async def test_a_guest_solves_a_challenge_unseen_where_the_poll_asks_for_one(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests="challenge")
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
    assert (await api.tally(poll))["voters"] == 1


async def test_a_guest_without_proof_stays_the_same_guest_and_votes(
    visit: Visit, api: Api, owner: Person, poll: Poll
) -> None:
    strict = await api.poll(owner, guests="challenge")
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await phone.open(f"/p/{strict['code']}")
        await phone.vote("Coffee")
        await phone.counted()
        await phone.open(f"/p/{poll['code']}")
        await phone.counted()
    assert (await api.tally(strict))["voters"] == 1


async def test_without_changes_nobody_is_offered_one(visit: Visit, poll: Poll) -> None:
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await expect(phone.page.get_by_role("button", name="Change my vote")).to_have_count(0)


async def test_too_many_choices_are_refused_before_they_are_sent(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True, options=["One", "Two", "Three"], minChoices=2, maxChoices=2)
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("One")
        await expect(phone.page.locator(".problem")).to_contain_text("at least 2")
        await phone.page.locator(".option", has_text="Two").click()
        await phone.page.locator(".option", has_text="Three").click()
        await expect(phone.page.locator(".problem")).to_contain_text("You can choose 2")
        await expect(phone.page.locator(".option :checked")).to_have_count(2)
        await phone.page.locator(".send button").click()
        await phone.counted()


async def test_closing_shows_the_result_everywhere_and_it_stays(
    visit: Visit, api: Api, owner: Person, poll: Poll
) -> None:
    async with visit() as phone, visit(viewport=DESKTOP) as screen:
        await screen.open(f"/p/{poll['code']}/screen")
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await api.close(owner, poll)
        await expect(phone.page.get_by_role("heading", name="Result")).to_be_visible()
        await expect(phone.page.locator(".notice.good")).to_contain_text("Your vote is in the result")
        await expect(screen.page.locator(".winner")).to_contain_text("Most votes")
        await expect(screen.page.locator(".voted")).to_contain_text("Final")
        await phone.page.reload()
        await phone.sees("Tea", 1)


async def test_a_poll_for_accounts_asks_for_one_first(visit: Visit, api: Api, owner: Person) -> None:
    poll = await api.poll(owner)
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await expect(phone.page.locator("main")).to_contain_text("people with an account")
        await phone.page.get_by_label("E-mail").fill(Api.email())
        await phone.page.get_by_label("Password").fill("a battery staple")
        await phone.page.get_by_role("button", name="Create account").click()
        await phone.vote("Tea")
        await phone.counted()


async def test_an_unknown_code_a_deleted_poll_and_a_scheduled_one_say_so(
    visit: Visit, api: Api, owner: Person, poll: Poll
) -> None:
    later = await api.poll(owner, guests=True, opensAt="2099-01-01T00:00:00Z")
    async with visit() as phone:
        await phone.open("/p/ZZZZZZ")
        await expect(phone.page.get_by_role("heading")).to_contain_text("No poll has the code ZZZZZZ")
        await phone.open(f"/p/{later['code']}")
        await expect(phone.page.locator(".notice")).to_contain_text("Voting opens on")
        await phone.open(f"/p/{poll['code']}")
        await expect(phone.page.locator(".option")).to_have_count(2)
        ok(await api.delete(f"/polls/{poll['id']}", owner), 204)
        await expect(phone.page.get_by_role("heading")).to_contain_text("deleted this poll")


HIDDEN = {
    ("after_vote", "open"): "once you have voted",
    ("after_close", "open"): "when voting closes",
    ("owner", "open"): "when the host shows it",
    ("owner", "closed"): "has not shown the result",
}


@pytest.mark.parametrize("rule", ["always", "after_vote", "after_close", "owner"])
async def test_each_rule_shows_what_it_allows_and_always_a_usable_form(
    visit: Visit, api: Api, owner: Person, rule: str
) -> None:
    poll = await api.poll(owner, guests=True, resultsVisibility=rule)
    async with visit() as phone, visit() as watcher, visit(viewport=DESKTOP) as screen:
        for each in (phone, watcher):
            await each.open(f"/p/{poll['code']}")
            await expect(each.page.locator(".option")).to_have_count(2)
        await screen.open(f"/p/{poll['code']}/screen")
        await phone.vote("Tea")
        await phone.counted()
        await watcher.page.get_by_role("button", name="Just watch").click()
        if text := HIDDEN.get((rule, "open")):
            await expect(watcher.page.locator("main")).to_contain_text(text)
            await expect(screen.page.locator(".fill")).to_have_count(0)
            await expect(screen.page.locator(".voted")).to_contain_text("1 of 3 here has voted")
        else:
            await watcher.sees("Tea", 1)
        if rule in ("always", "after_vote"):
            await phone.sees("Tea", 1)
        await api.close(owner, poll)
        if text := HIDDEN.get((rule, "closed")):
            for each in (phone, watcher, screen):
                await expect(each.page.locator("main")).to_contain_text(text)
        else:
            for each in (phone, watcher, screen):
                await each.sees("Tea", 1)


async def test_an_embedded_poll_takes_votes_also_where_storage_throws(visit: Visit, poll: Poll) -> None:
    async with visit() as phone:
        broken = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
        await phone.context.add_init_script(broken)
        await phone.open(f"/p/{poll['code']}/embed")
        await phone.vote("Tea")
        await phone.counted()
        await phone.sees("Tea", 1)


async def test_the_result_page_has_the_numbers_and_a_table(
    visit: Visit, api: Api, owner: Person, poll: Poll
) -> None:
    (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
    await api.close(owner, poll)
    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}/check")
        await phone.sees("Tea", 1)
        await expect(phone.page.locator("main")).to_contain_text(re.compile("Final"))
        async with phone.page.expect_download() as saving:
            await phone.page.get_by_role("button", name="Download CSV").click()
        file = await (await saving.value).path()
        assert file.read_bytes().startswith(b"\xef\xbb\xbfoptionId,label,votes\r\n")
