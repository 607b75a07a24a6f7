"""What a run asks for over HTTP: an account, polls, a deck, guests, results."""

import asyncio
import random
import secrets
from typing import Final

from .api import THREADS, Api, Refused
from .hall import Ballots, Gate
from .plan import OPTIONS
from .report import Outcome

HEAVIEST: Final = 5


async def register(api: Api) -> str:
    """The access token of a new account."""
    account = {
        "email": f"simulate-{secrets.token_hex(8)}@example.org",
        "password": secrets.token_urlsafe(24),
    }
    try:
        session = await api.call("POST", "/auth/register", account | {"name": "Simulation"})
    except Refused as refused:
        if refused.code != "EMAIL_TAKEN":  # by an earlier sending, whose answer was lost
            raise
        session = await api.call("POST", "/auth/login", account)
    return str(session["accessToken"])


async def create_poll(api: Api, owner: str, number: int, *, draft: bool = False) -> Ballots:
    body = {
        "question": f"What shall we drink? ({number})",
        "options": list(OPTIONS),
        "guests": True,
        "draft": draft,
    }
    answer = await api.call("POST", "/polls", body, owner, key=secrets.token_hex(16))
    poll = answer["poll"]
    options = {option["id"]: option["label"] for option in poll["options"]}
    weights = [random.randint(1, HEAVIEST) for _ in options]
    return Ballots(poll["id"], poll["question"], options, weights)


async def guests(api: Api, gate: Gate) -> list[str]:
    """An access token for each."""
    tokens: list[str] = []
    left = iter(range(gate.number))

    async def some() -> None:
        for _ in left:
            tokens.append((await api.call("POST", "/auth/guest", {}))["accessToken"])
            gate.passed()

    await asyncio.gather(*(some() for _ in range(THREADS)))
    return tokens


async def outcome(api: Api, instances: tuple[str, ...], owner: str, poll: Ballots) -> Outcome:
    acked = {option: poll.acked[option] for option in poll.options}
    tallies: dict[str, dict[str, int]] = {}
    voters = 0
    equal = True
    for base in instances:
        tally = (await api.call("GET", f"/polls/{poll.id}/results", token=owner, base=base))["tally"]
        tallies[base] = {option: tally["counts"].get(option, 0) for option in poll.options}
        voters = tally["voters"]
        poll.final = max(poll.final, (tally["epoch"], tally["seq"]))
        equal = equal and tallies[base] == acked and voters == sum(acked.values())
    return Outcome(poll.id, poll.question, acked, tallies, voters, equal)


async def create_deck(api: Api, owner: str, polls: list[Ballots]) -> str:
    body = {"title": "A quiz", "pollIds": [poll.id for poll in polls]}
    answer = await api.call("POST", "/decks", body, owner, key=secrets.token_hex(16))
    return str(answer["deck"]["id"])


async def move(api: Api, owner: str, deck_id: str, poll: Ballots) -> None:
    await api.call("POST", f"/decks/{deck_id}/current", {"pollId": poll.id}, owner)


async def end(api: Api, owner: str, deck_id: str) -> None:
    await api.call("POST", f"/decks/{deck_id}/end", None, owner)
