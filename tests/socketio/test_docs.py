"""The example of ``docs/socketio.md``, as it stands there."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.harness.http import Api, Person, ok, person
from tools.harness.process import Server
from tools.harness.shapes import option_ids
from tools.harness.websocket import socket

PAGE = Path(__file__).parents[2] / "docs" / "socketio.md"
USE = """
const tell = (news) => console.log(JSON.stringify(news));
const [server, code, token, ...votes] = process.argv.slice(2);
const room = join(server, code, token, show);
const vote = ([option, id]) => room.vote([option], id).then(
    (answer) => tell({ answer }),
    (error) => tell({ rejected: error.message }),
);
if (votes.length) vote(votes);

/** Votes at the first state shown, too, without another turn of the loop. */
let first = votes.length > 0;
function show(shown) {
    if (first) vote(votes);
    first = false;
    tell({ shown });
}
for await (const lines of process.stdin) {
    for (const line of String(lines).trim().split("\\n")) {
        const { votes, fresh } = JSON.parse(line);
        if (fresh) room.renew(fresh);
        if (votes) vote(votes);
    }
}
room.leave();
"""

News = dict[str, Any]


class Example:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def do(self, **fields: Any) -> None:
        """``votes``: an option and an id. ``fresh``: a token to renew with."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def next(self, kind: str, match: Callable[[Any], bool] = bool) -> Any:
        """The next news of that kind; what comes before it is passed over. Fails after 30 s."""
        assert self._process.stdout
        async with asyncio.timeout(30):
            while line := await self._process.stdout.readline():
                news = json.loads(line)
                if kind in news and match(news[kind]):
                    return news[kind]
        raise AssertionError("the example has ended")

    async def end(self) -> None:
        """It leaves: nothing may keep node running."""
        try:
            async with asyncio.timeout(10):
                await self._process.communicate(b"")
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()


Open = Callable[..., AbstractAsyncContextManager[Example]]


@pytest.fixture
def example(library: str, server: Server, tmp_path: Path) -> Open:
    """``async with example(poll, token, option, id)``: a vote before ``connect``, where it is named."""
    block = re.search(r"^```js\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None
    (tmp_path / "example.mjs").write_text(block[1] + USE)
    (tmp_path / "node_modules").symlink_to(Path(library) / "node_modules")

    @asynccontextmanager
    async def opened(poll: News, token: str, *votes: str) -> AsyncIterator[Example]:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(tmp_path / "example.mjs"),
            *(server.url(), poll["code"], token, *votes),
            env={"PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        found = Example(process)
        try:
            yield found
        finally:
            await found.end()

    return opened


async def test_it_votes_before_it_is_connected_and_at_the_first_state(
    example: Open, server: Server, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner, guests=True)
    voter = await api.guest()
    async with socket(server) as raw:
        await raw.join(poll)
        async with example(poll, voter.token, option_ids(poll)[0], "once") as page:
            answers = [await page.next("answer") for _ in range(2)]
        await raw.shows(poll, voters=1)
    assert {answer["type"] for answer in answers} == {"VOTE_ACCEPTED"}
    assert sorted(answer["repeated"] for answer in answers) == [False, True]


async def test_it_renews_its_token_and_sees_its_poll(example: Open, api: Api, owner: Person) -> None:
    poll = await api.poll(owner, guests=True)
    voter = await api.user()
    fresh = ok(await api.post("/auth/refresh", {"refreshToken": voter.refresh}))["accessToken"]
    async with example(poll, voter.token) as page:
        await page.next("shown")
        page.do(votes=[option_ids(poll)[0], "once"])
        await page.next("answer")
        page.do(fresh=fresh)
        state = await page.next("shown", lambda shown: shown["type"] == "POLL_STATE")
    assert state["tally"]["counts"][option_ids(poll)[0]] == 1


async def test_a_vote_after_a_logout_rejects_and_counts_after_renewing(
    example: Open, api: Api, owner: Person
) -> None:
    poll = await api.poll(owner)
    voter = await api.user()
    votes = [option_ids(poll)[0], "once"]
    async with example(poll, voter.token) as page:
        await page.next("shown")
        ok(await api.post("/auth/logout", None, voter), 204)
        page.do(votes=votes)
        assert await page.next("rejected") == "disconnected"
        login = {"email": voter.user["email"], "password": voter.password}
        page.do(fresh=person(ok(await api.post("/auth/login", login))).token, votes=votes)
        answer = await page.next("answer")
    assert (answer["type"], answer["repeated"]) == ("VOTE_ACCEPTED", False)
    assert (await api.tally(poll))["voters"] == 1
