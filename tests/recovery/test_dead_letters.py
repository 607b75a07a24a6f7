"""What SQL refused is kept aside: its poll is not loaded without it, and a command stores it after all."""

import asyncio
from base64 import b64encode

import msgspec
import pytest

from app.domain.log_position import NOTHING, LogPlace
from app.repositories import ballots as model
from tests.recovery.site import Node, Site, received
from tools.harness.process import run

pytestmark = pytest.mark.anyio


def command(site: Site, *words: str) -> tuple[int, str]:
    settings = {
        "DATA_DIR": str(site.folder / "data"),
        "REDIS_URL": site.redis.url,
        "JWT_SECRET": "a secret of the tests, and nothing else",
        "DATABASE_URL": site.database_url or f"sqlite+aiosqlite:///{site.folder}/data/pollroom.db",
    }
    done = run(["dead-letters", *words], settings)
    return done.returncode, done.stdout


async def poison(node: Node, poll_id: str) -> None:
    """An entry of which SQL can store nothing: the voter's id is too long."""
    entry = ("b", poll_id, "v" * 300, 1, "one", False, ["x"], 9, 1_700_000_000_000, True, [])
    await node.stores.client.xadd(node.stores.keys.log(0, 1), {"e": msgspec.msgpack.encode(entry)})


async def test_a_poison_entry_is_put_aside_alone_and_its_poll_is_not_loaded(site: Site) -> None:
    async with site.open() as node:
        poll, other = await node.poll(), await node.poll()
        received(await node.vote(poll, "ann", "one", 0))
        await poison(node, poll.id)
        received(await node.vote(poll, "bob", "one", 0))
        received(await node.vote(other, "ann", "one", 1))
        await node.drain()
        assert await model.dead_letters_by_poll(node.stores.database) in ({poll.id: 1}, {})
        if site.database_url is None:
            return  # SQLite takes ids of any length
        assert (await node.in_sql(poll))[0] == 2 and (await node.in_sql(other))[0] == 1
        await node.redis("FLUSHALL")
        while (answer := await node.vote(other, "bob", "one", 1)) == "UNAVAILABLE":
            await asyncio.sleep(0.05)
        received(answer)
        assert await node.vote(poll, "cat", "one", 0) == "UNAVAILABLE"
        code, text = await asyncio.to_thread(command, site)
        assert code == 1 and poll.id in text, text
        code, text = await asyncio.to_thread(command, site, "--replay")
        assert code == 1 and "0 stored" in text and "1 refused" in text, text
        assert (await node.offset()).generation == 2


async def test_dead_letters_are_listed_and_replayed(site: Site) -> None:
    """As after a column was made wider: what was refused then is taken now."""
    async with site.open() as node:
        poll = await node.poll()
        received(await node.vote(poll, "ann", "one", 0))
        (entries,) = (await node.stores.votes.read({0: LogPlace(1, NOTHING)}, 100, 0)).values()
        last = entries[-1]
        async with node.stores.database.transaction() as queries:
            await model.advance(queries, "sql", 0, 1, (await node.offset()).last_id, last.id)
            await model.add_dead_letter(
                queries,
                poll_id=poll.id,
                partition=0,
                generation=1,
                entry_id=str(last.id),
                entry=b64encode(last.payload).decode(),
                error="too long, then",
                created_at=0,
            )
        assert await node.in_sql(poll) == (0, {})
        code, text = await asyncio.to_thread(command, site)
        assert code == 1 and "too long, then" in text and str(last.id) in text, text
        code, text = await asyncio.to_thread(command, site, "--replay")
        assert code == 0 and "1 stored, 0 refused" in text, text
        code, text = await asyncio.to_thread(command, site)
        assert code == 0 and "no dead letters" in text, text
        await node.redis("DEL", *node.stores.keys.poll(poll.id))
        assert received(await node.vote(poll, "ann", "one", 0)).repeated
        assert (await node.tally(poll))[0] == (await node.in_sql(poll))[0] == 1
