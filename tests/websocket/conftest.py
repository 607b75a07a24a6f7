"""``app/web/pollroom.js`` in node, and what it told, waited for instead of slept for."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.harness.process import Server
from tools.harness.wait import eventually

CLIENT = Path(__file__).parents[2] / "app" / "web" / "pollroom.js"
USE = """
import Socket from "ws";
// Node 20 has none of its own. A browser's does not throw where nobody hears of an error.
globalThis.WebSocket = class extends Socket {
    constructor(url) {
        super(url);
        tell({ opened: url });
        this.on("error", () => {});
        this.on("message", (data) => tell({ frame: JSON.parse(data) }));
    }
};
const tell = (news) => console.log(JSON.stringify(news));
const { Pollroom } = await import("./pollroom.mjs");
const [server, code, fixed, refreshToken] = process.argv.slice(2);
let refresh = refreshToken;
async function token() {
    if (!refresh) return fixed;
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ refreshToken: refresh });
    const answer = await fetch(server + "/auth/refresh", { method: "POST", headers, body });
    if (!answer.ok) throw new Error("no token");
    const session = await answer.json();
    refresh = session.refreshToken;
    return session.accessToken;
}
const client = new Pollroom({ base: server, token: fixed || refresh ? token : () => null });
const room = client.join(code, (shown) => tell(shown.ended ? { over: shown.ended } : shown.tally ? { shown } : { waits: shown }));
const joined = () => new Promise((then) => {
    const again = () => (room.pollId ? then() : setTimeout(again, 5));
    again();
});
for await (const lines of process.stdin) {
    for (const line of String(lines).trim().split("\\n")) {
        const { option, id, refresh: next } = JSON.parse(line);
        refresh = next ?? refresh;
        const voted = option && joined().then(() => room.vote([option], id));
        if (voted) voted.then((answer) => tell({ answer }), (error) => tell({ rejected: error.message }));
    }
}
room.leave();
"""

News = dict[str, Any]


class Page:
    """``news``: ``{opened}`` for each socket, ``{frame}`` for all that came; ``{shown}``, ``{answer}``, ``{rejected}``,
    ``{over}`` as the page is told.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.news: list[News] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            self.news.append(json.loads(line))

    def tell(self, **fields: str) -> None:
        """``refresh``: a new token. ``option`` and ``id``: a vote."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    def vote(self, option: str, id: str) -> None:
        self.tell(option=option, id=id)

    def sleep(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def all(self, kind: str) -> list[Any]:
        return [news[kind] for news in self.news if kind in news]

    def frames(self, kind: str) -> list[News]:
        return [frame for frame in self.all("frame") if frame["type"] == kind]

    async def until(self, find: Callable[[], list[Any]], number: int = 1, timeout: float = 30) -> Any:
        """The last of at least ``number``."""

        async def found() -> list[Any]:
            return find()

        last = {"news": self.news[-3:]}
        return (await eventually(found, lambda each: len(each) >= number, timeout, str(last)))[-1]

    async def end(self) -> None:
        """It leaves: nothing of it may keep node running."""
        assert self._process.stdin
        try:
            self.wake()
            self._process.stdin.close()
            async with asyncio.timeout(10):
                await self._process.wait()
                await self._reader
        finally:
            if self._process.returncode is None:
                self._process.kill()


Open = Callable[..., Any]


@pytest.fixture
def page(library: str, tmp_path: Path) -> Open:
    """``async with page(server, poll, token, refresh)``: with a refresh token it has its tokens by that."""
    (tmp_path / "pollroom.mjs").write_text(CLIENT.read_text())
    (tmp_path / "page.mjs").write_text(USE)
    (tmp_path / "node_modules").symlink_to(Path(library) / "node_modules")

    @asynccontextmanager
    async def opened(server: Server, code: str, token: str = "", refresh: str = "") -> AsyncIterator[Page]:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(tmp_path / "page.mjs"),
            *(server.url(), code, token, refresh),
            env={"PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        found = Page(process)
        try:
            yield found
        finally:
            await found.end()

    return opened
