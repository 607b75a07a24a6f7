"""Calls of decks that several suites share."""

from typing import Any

from tools.harness.http import Api, Person, ok
from tools.harness.shapes import check_deck


async def drafts(api: Api, owner: Person, count: int = 3, **fields: Any) -> list[dict[str, Any]]:
    return [
        await api.poll(owner, **({"question": f"Q{n}", "draft": True, "guests": True} | fields))
        for n in range(count)
    ]


async def make(api: Api, owner: Person, polls: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    body = {"title": "Quiz", "pollIds": [poll["id"] for poll in polls]} | fields
    return check_deck(ok(await api.post("/decks", body, owner), 201)["deck"])


async def move(api: Api, owner: Person, deck: dict[str, Any], poll: Any, **fields: Any) -> dict[str, Any]:
    body = {"pollId": poll and poll["id"]} | fields
    moved: dict[str, Any] = ok(await api.post(f"/decks/{deck['id']}/current", body, owner))
    assert set(moved) == {"deck", "poll", "tally"}
    check_deck(moved["deck"])
    return moved


def on_sockets(deck: dict[str, Any]) -> dict[str, Any]:
    """A deck as sockets and streams show it."""
    return {name: value for name, value in deck.items() if name != "polls"}
