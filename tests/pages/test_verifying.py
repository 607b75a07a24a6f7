"""The fingerprint of a verifiable poll on every page, and "is my vote in it"."""

import json
import re

import pytest
from playwright.async_api import Route, expect

from tests.pages.conftest import DESKTOP, Visit
from tests.pages.test_host import start
from tools.harness.http import Api, Person, ok

pytestmark = pytest.mark.anyio

FINGERPRINT = re.compile(r"\b[A-Z2-7]{5}(-[A-Z2-7]{5}){4}\b")


async def test_a_voter_finds_the_vote_behind_the_fingerprint_of_the_screen(
    visit: Visit, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True, verifiable=True, options=["Tea ☕", "Coffee"], maxChoices=2)
    for guest in await api.guests(6):
        (await api.vote(guest, poll["id"], [poll["options"][1]["id"]], id=f"{guest.id:x<22}")).fresh()
    async with visit() as phone, visit(viewport=DESKTOP) as hall:
        await hall.open(f"/p/{poll['code']}/screen")
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea ☕", "Coffee")
        await phone.counted()
        await api.close(owner, poll)
        shown = phone.page.locator(".fingerprint")
        await expect(shown).to_have_text(FINGERPRINT)
        await expect(hall.page.locator(".fingerprint")).to_have_text(str(await shown.text_content()))
        document = ok(await api.get(f"/polls/{poll['id']}/commitment"))
        assert await shown.text_content() == document["fingerprint"] and document["size"] == 7
        await phone.open(f"/p/{poll['code']}/check")
        await expect(shown).to_have_text(document["fingerprint"])
        await phone.page.get_by_role("button", name="Is my vote in it?").click()
        found = phone.page.locator(".notice", has_text="Your vote is in it.")
        await expect(found).to_contain_text(re.compile(r"It is ballot [1-7] of 7\."))
        assert await phone.faults() == [] and await hall.faults() == []


@pytest.mark.parametrize("lie", ["path", "index", "missing"])
async def test_a_proof_that_is_false_is_said_to_be(visit: Visit, api: Api, owner: Person, lie: str) -> None:
    poll = await api.poll(owner, guests=True, verifiable=True)
    for guest in await api.guests(3):
        (await api.vote(guest, poll["id"], [poll["options"][1]["id"]], id=f"{guest.id:x<22}")).fresh()

    async def forge(route: Route) -> None:
        answer = await route.fetch()
        proof = await answer.json()
        if lie == "missing":
            await route.fulfill(
                status=404,
                content_type="application/problem+json",
                body=json.dumps({"code": "NOT_FOUND", "detail": "?"}),
            )
            return
        if lie == "path":
            proof["path"][0] = "0" * 64
        else:
            proof["index"] ^= 1
        await route.fulfill(response=answer, json=proof)

    async with visit() as phone:
        await phone.open(f"/p/{poll['code']}")
        await phone.vote("Tea")
        await phone.counted()
        await api.close(owner, poll)
        await phone.page.route("**/proof?*", forge)
        await phone.open(f"/p/{poll['code']}/check")
        await phone.page.get_by_role("button", name="Is my vote in it?").click()
        await expect(phone.page.locator(".notice.bad")).to_contain_text("Your vote is not in it.")


async def test_a_host_makes_a_verifiable_poll(visit: Visit, api: Api) -> None:
    async with visit(viewport=DESKTOP) as host:
        await host.open("/host")
        await host.page.get_by_text("More settings").click()
        await host.page.get_by_label("Everybody can check the result afterwards").check()
        code = await start(host, open_page=False)
        assert ok(await api.get(f"/join/{code}"))["poll"]["verifiable"] is True
