"""The example of ``docs/socketio.md``, as it stands there."""

import asyncio
import json
import os
import re
from pathlib import Path

from tests.harness.http import Api, Person
from tests.harness.process import Server
from tests.harness.shapes import option_ids
from tests.harness.websocket import socket

PAGE = Path(__file__).parents[2] / "docs" / "socketio.md"
USE = """
const [server, code, token, fresh, option] = process.argv.slice(2);
const room = join(server, code, token, show);
let voted, renewed;
const first = await new Promise((answered) => { voted = answered; });
const again = await room.vote([option], "once");
room.renew(fresh);
const last = await new Promise((shown) => { renewed = shown; });
room.leave();

/** Votes at the first state shown, without another turn of the loop. */
function show(message) {
    voted?.(room.vote([option], "once"));
    voted = undefined;
    if (message.poll) renewed?.(message);
}
console.log(JSON.stringify({ first, again, last }));
"""


async def test_the_example_joins_votes_and_shows(
    library: str, server: Server, api: Api, owner: Person, tmp_path: Path
) -> None:
    block = re.search(r"^```js\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None
    (tmp_path / "example.mjs").write_text(block[1] + USE)
    (tmp_path / "node_modules").symlink_to(Path(library) / "node_modules")
    poll = await api.poll(owner, guests=True)
    voter = await api.user()
    fresh = (await api.post("/auth/refresh", {"refreshToken": voter.refresh})).json()["accessToken"]
    arguments = [server.url(), poll["code"], voter.token, fresh, option_ids(poll)[0]]
    async with socket(server) as raw:
        await raw.join(poll)
        process = await asyncio.create_subprocess_exec(
            "node",
            str(tmp_path / "example.mjs"),
            *arguments,
            env={"PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        await raw.shows(poll, voters=1)
    said = json.loads(out)
    assert said["first"]["type"] == "VOTE_ACCEPTED" and said["first"]["repeated"] is False
    assert said["again"] == said["first"] | {"repeated": True}
    assert said["last"]["tally"]["counts"][option_ids(poll)[0]] == 1
