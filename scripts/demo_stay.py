"""``scripts/demo --stay``: one server with three polls and a crowd in them, to be looked at in a browser until Ctrl-C.

HOST and PORT are as for ``scripts/run``. Data is in a temporary folder.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.simulate.api import Api
from app.simulate.hall import Ballots, Hall
from app.simulate.voter import Voter
from scripts.demo import running
from tools.servers import Missing

VOTERS = 200
ARRIVE_SECONDS = 5.0
VOTE_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
EMAIL, NAME = "host@example.org", "Host"
QUESTIONS: dict[str, dict[str, int]] = {
    "Where do we eat?": {"Pizza": 4, "Ramen": 5, "Salad": 2},
    "How was the talk?": {"Great": 6, "Good": 5, "Too long": 2, "I was asleep": 1},
    "What shall we talk about next?": {"Testing": 3, "Databases": 4, "Hiring": 1, "Lunch": 5},
}


async def make_poll(api: Api, owner: str, question: str, weights: dict[str, int]) -> tuple[Ballots, str]:
    """The poll and its code."""
    body: dict[str, Any] = {
        "question": question,
        "options": list(weights),
        "guests": True,
        "allowChange": True,
    }
    poll = (await api.call("POST", "/polls", body, owner, key=secrets.token_hex(16)))["poll"]
    options = {option["id"]: option["label"] for option in poll["options"]}
    return Ballots(poll["id"], question, options, list(weights.values())), poll["code"]


async def crowd(api: Api, hall: Hall, polls: list[Ballots]) -> list[Voter]:
    """All come, then vote one by one in each poll."""
    guests = [(await api.call("POST", "/auth/guest", {}))["accessToken"] for _ in range(VOTERS)]
    voters = [
        Voter(hall, guest, poll, random.choices(list(poll.options), poll.weights)[0], turn=0)
        for guest in guests
        for poll in polls
    ]
    random.shuffle(voters)
    for act, seconds in ((Voter.come, ARRIVE_SECONDS), (Voter.vote, VOTE_SECONDS)):
        for voter in voters:
            act(voter)
            await asyncio.sleep(seconds / len(voters))
    with suppress(TimeoutError):
        await asyncio.wait_for(hall.settled.open.wait(), PATIENCE_SECONDS)
    return voters


async def compare(api: Api, owner: str, polls: list[Ballots]) -> bool:
    """Whether every tally has at least what the crowd was told; more if somebody else voted, too."""
    complete = True
    for poll in polls:
        counts = (await api.call("GET", f"/polls/{poll.id}/results", token=owner))["tally"]["counts"]
        complete &= all(counts.get(option, 0) >= number for option, number in poll.acked.items())
        print(f"{poll.question} {sum(poll.acked.values())} acknowledged, {sum(counts.values())} in the tally")
    return complete


async def show(listens: str) -> None:
    port = urlsplit(listens).port
    url = f"http://127.0.0.1:{port}"
    api = Api((url,), PATIENCE_SECONDS, print)
    hall = Hall((url,), VOTERS * len(QUESTIONS))
    password = secrets.token_urlsafe(9)
    voters: list[Voter] = []
    try:
        account = {"email": EMAIL, "password": password, "name": NAME}
        owner = (await api.call("POST", "/auth/register", account))["accessToken"]
        made = [await make_poll(api, owner, question, weights) for question, weights in QUESTIONS.items()]
        polls, code = [poll for poll, _ in made], made[0][1]
        print(f"phone   {url}/p/{code}\nscreen  {url}/p/{code}/screen")
        print(f"host    {url}/host/{polls[0].id}   (e-mail {EMAIL}, password {password})")
        print(f"{VOTERS} people arrive and vote for a minute. Ctrl-C ends it.", flush=True)
        voters = await crowd(api, hall, polls)
        complete = await compare(api, owner, polls)
        print(
            f"every acknowledged vote is in its tally: {'yes' if complete else 'NO'}. Ctrl-C ends it.",
            flush=True,
        )
        await asyncio.Event().wait()
    finally:
        hall.closing = True
        for voter in voters:
            voter.go()
        api.close()


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    with tempfile.TemporaryDirectory(prefix="pollroom-demo-") as name:
        folder = Path(name)
        settings = {"HOST": host, "PORT": port, "DATA_DIR": str(folder / "data"), "DRAIN_SECONDS": "1"}
        with running("serve", folder / "serve.log", settings, "listens on ") as listens:
            asyncio.run(show(listens.split()[0]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except Missing as missing:
        sys.exit(str(missing))
