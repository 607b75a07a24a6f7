"""Redis restarted, emptied, or without its last writes: what SQL has stands, under a higher epoch where anything was lost."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as Gone

from app.adapters.redis.ledger.fences import RedisFences
from app.bootstrap.resources import Resources
from app.domain.ballots import Receipt
from app.domain.errors import PollroomError
from app.domain.log_position import BEGUN
from app.domain.polls import Rules
from app.ports.ledger import Fences
from app.repositories import ballots as votes
from app.services.recovery.ownership import Ownership
from app.services.recovery.partition_verifier import PartitionVerifier
from app.services.vote_log.recorder import READER
from tests.recovery.site import Answer, Node, Site, ballot, received, repeats, until
from tools.servers import RedisServer, redis_server

pytestmark = pytest.mark.anyio


async def some_votes(node: Node, poll: Rules, voters: range) -> dict[str, Answer]:
    """One each; every third changes, every fifth of them retracts. Ballot id -> answer."""
    said: dict[str, Answer] = {}
    ballots = [ballot(poll, f"v{n}", f"v{n}-1", n % 3) for n in voters]
    ballots += [ballot(poll, f"v{n}", f"v{n}-2", (n + 1) % 3) for n in voters if n % 3 == 0]
    for start in range(0, len(ballots), 500):
        chunk = ballots[start : start + 500]
        for one, answer in zip(chunk, await node.cast(*chunk), strict=True):
            said[one.id] = received(answer)
    for n in voters:
        if n % 15 == 0:
            said[f"v{n}-3"] = received(await node.retract(poll, f"v{n}", f"v{n}-3"))
    return said


async def all_repeat(node: Node, poll: Rules, said: dict[str, Answer]) -> None:
    """Each ballot sent again gets its first answer; a new one of the same voter is a change, never a second vote."""
    for id, first in said.items():
        voter, _, number = id.rpartition("-")
        n = int(voter[1:])
        if number == "3":
            repeats(await node.retract(poll, voter, id), first)
        else:
            repeats(await node.vote(poll, voter, id, (n + int(number) - 1) % 3), first)


async def equal(node: Node, poll: Rules) -> tuple[int, dict[str, int]]:
    await node.drain()
    found = await node.tally(poll)
    assert found == await node.in_sql(poll)
    return found


def restart(redis: RedisServer, *, empty: bool = False) -> None:
    redis.kill()
    if empty:
        for path in (redis.folder / "appendonlydir").glob("*"):
            path.unlink()
    redis.start()


@pytest.mark.parametrize("how", ["flushall", "restart"])
async def test_an_emptied_redis_gets_everything_back_under_a_new_epoch(site: Site, how: str) -> None:
    async with site.open() as node, site.open() as other:
        poll = await node.poll()
        said = await some_votes(node, poll, range(60))
        before = await node.state(poll)
        await node.drain()
        if how == "flushall":
            await node.redis("FLUSHALL")
        else:
            restart(site.redis, empty=True)
        after = await until(lambda: _state(other, poll), "a read")
        assert after.epoch == before.epoch + 1 and after.order > before.order
        assert (after.voters, after.counts) == (before.voters, {k: n for k, n in before.counts.items() if n})
        await all_repeat(node, poll, said)
        assert await equal(node, poll) == await equal(other, poll)
        await node.vote(poll, "v1", "v1-9", 0)
        assert (await equal(node, poll))[0] == before.voters


async def _state(node: Node, poll: Rules):  # type: ignore[no-untyped-def]
    try:
        return await node.state(poll)
    except PollroomError:
        return None


@pytest.mark.parametrize("how", ["flushall", "restart"])
async def test_emptied_under_load_exactly_what_sql_lacked_is_lost(site: Site, how: str) -> None:
    async with site.open() as node, site.open() as other:
        poll = await node.poll()
        stored = await some_votes(node, poll, range(40))
        await node.drain()
        unstored = await some_votes(other, poll, range(40, 70))
        if how == "flushall":
            await node.redis("FLUSHALL")
        else:
            restart(site.redis, empty=True)
        state = await until(lambda: _state(node, poll), "a read")
        assert state.epoch == 2
        await all_repeat(node, poll, stored)
        voters, _ = await equal(node, poll)
        assert voters == 40 - 3  # v0, v15, v30 retracted
        again = [await other.vote(poll, f"v{n}", f"v{n}-1", n % 3) for n in range(40, 70)]
        assert not any(received(answer).repeated for answer in again)
        assert len(unstored) > 30
        assert (await equal(other, poll))[0] == 40 - 3 + 30


async def test_votes_go_on_while_redis_is_emptied_again_and_again(site: Site) -> None:
    """Whoever was told ok after the last emptying is there; nobody is there twice."""
    async with site.open(worker=True) as node, site.open() as other:
        poll = await node.poll()
        epochs: list[tuple[int, int]] = []
        left = [3]

        async def load(by: Node, name: str) -> dict[str, Receipt]:
            ok: dict[str, Receipt] = {}
            while left[0] or len(ok) < 100:
                n = len(ok)
                voter = f"{name}{n}"
                answer = await by.vote(poll, voter, "one", n % 3)
                while answer == "UNAVAILABLE":
                    answer = await by.vote(poll, voter, "one", n % 3)
                ok[voter] = received(answer)
                state = await _state(by, poll)
                if state is not None:
                    epochs.append(state.order)
            return ok

        async def empty() -> None:
            for _ in range(3):
                before = len(epochs)
                await until(partial(enough, before + 40), "votes in between")
                await node.redis("FLUSHALL")
                left[0] -= 1

        async def enough(count: int) -> bool:
            return len(epochs) > count

        a, b, _ = await asyncio.gather(load(node, "a"), load(other, "b"), empty())
        voters, _ = await equal(node, poll)
        for by, ok in ((node, a), (other, b)):
            for voter in ok:
                received(await by.vote(poll, voter, "one", int(voter[1:]) % 3))
        assert voters <= len(a) + len(b) == (await equal(node, poll))[0]
        assert max(epochs)[0] == (await node.state(poll)).epoch == 4


async def test_a_restart_that_lost_nothing_keeps_the_epoch(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        said = await some_votes(node, poll, range(30))
        before = await node.state(poll)
        restart(site.redis)
        after = await until(lambda: _state(node, poll), "a read")
        assert after.order == before.order and after.counts == before.counts
        await all_repeat(node, poll, said)
        await equal(node, poll)


async def test_forgotten_scripts_cost_nothing(small: Site) -> None:
    async with small.open() as node:
        poll = await node.poll()
        for n in range(5):
            await node.redis("SCRIPT", "FLUSH")
            received(await node.vote(poll, f"v{n}", "one", 0))
            await node.redis("SCRIPT", "FLUSH")
            await node.state(poll)
            await node.redis("SCRIPT", "FLUSH")
            await equal(node, poll)
        assert (await node.state(poll)).epoch == 1


async def test_a_fence_that_is_gone(site: Site) -> None:
    async with site.open() as node:
        poll = await node.poll()
        said = await some_votes(node, poll, range(20))
        before = await node.state(poll)
        await node.redis("DEL", node.stores.keys.fence(0))
        after = await until(lambda: _state(node, poll), "a read")
        assert after.epoch == 2 and after.counts == before.counts
        await all_repeat(node, poll, said)
        await equal(node, poll)


class _Restarts:
    """Fences of a Redis that restarts just before the fence is written."""

    def __init__(self, site: Site, node: Node, times: int) -> None:
        self._site, self.left = site, times
        self._fences = RedisFences(node.stores.client, node.stores.keys)

    async def inspect(self, partition: int):  # type: ignore[no-untyped-def]
        return await self._fences.inspect(partition)

    async def trusted(self) -> bool:
        return await self._fences.trusted()

    async def rewrite_aof(self, partition: int) -> None:
        await self._fences.rewrite_aof(partition)

    async def write(self, partition: int, run: str, generation: int, ledger: str) -> bool:
        if self.left:
            self.left -= 1
            restart(self._site.redis)
        return await self._fences.write(partition, run, generation, ledger)

    async def remove(self, partition: int, generation: int) -> bool:
        return await self._fences.remove(partition, generation)


def verifier_of(stores: Resources, fences: Fences) -> PartitionVerifier:
    return PartitionVerifier(
        stores.database,
        fences,
        stores.votes,
        stores.poll_store,
        Ownership(stores.database, silence_seconds=0),
    )


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_restart_between_comparison_and_fence(site: Site, emptied: bool) -> None:
    async with site.open() as node:
        poll = await node.poll()
        said = await some_votes(node, poll, range(20))
        await node.drain()
        restart(site.redis, empty=emptied)
        stores = node.stores
        fences = _Restarts(site, node, 2)
        verifier = PartitionVerifier(
            stores.database, fences, stores.votes, stores.poll_store, Ownership(stores.database, 0)
        )

        async def verified() -> int:
            try:
                return await verifier.verify(0)
            except PollroomError:
                return 0

        generation = await until(verified, "a fence")
        assert fences.left == 0
        assert (generation > 1) == emptied
        assert (await fences.inspect(0)).generation == generation
        await all_repeat(node, poll, said)
        await equal(node, poll)


class _Dies(_Restarts):
    """Fences of a process that dies before it writes one."""

    async def write(self, partition: int, run: str, generation: int, ledger: str) -> bool:
        raise ConnectionAbortedError


async def logs(node: Node) -> list[bytes]:
    return sorted(await node.redis("KEYS", "*:log:*"))


@pytest.mark.parametrize("drained", [False, True])
async def test_no_log_of_an_ended_generation_stays_after_a_crash(site: Site, drained: bool) -> None:
    """The generation grew, and who made it grow died; then it grows once more."""
    async with site.open() as node:
        poll = await node.poll()
        said = await some_votes(node, poll, range(20))
        if drained:
            await node.drain()
        stores = node.stores
        await node.redis("DEL", stores.keys.fence(0))
        with pytest.raises(ConnectionAbortedError):
            await verifier_of(stores, _Dies(site, node, 0)).verify(0)
        assert (await node.offset()).generation == 2
        restart(site.redis)
        after = await until(lambda: _state(node, poll), "a read")
        assert after.epoch == 3
        assert await logs(node) in ([], [stores.keys.log(0, 3).encode()])
        await all_repeat(node, poll, said)
        await equal(node, poll)


@pytest.mark.parametrize("jumped", [False, True])
async def test_a_log_that_sql_lacks_is_removed_only_after_it_was_stored(site: Site, jumped: bool) -> None:
    """Another Redis incremented the generation. ``jumped``: the fence that names the log is gone, too."""
    async with site.open() as node:
        poll = await node.poll()
        said = await some_votes(node, poll, range(20))
        entries = await node.redis("XLEN", node.stores.keys.log(0, 1))
        assert entries > 20
        await votes.fence(node.stores.database, READER, 0, 2, BEGUN, None)
        if jumped:
            await node.redis("DEL", node.stores.keys.fence(0))
        restart(site.redis)
        after = await until(lambda: _state(node, poll), "a read")
        assert after.epoch == 3
        left = await node.redis("XLEN", node.stores.keys.log(0, 1))
        if jumped:
            assert left == entries
        else:
            assert left == 0
            await all_repeat(node, poll, said)
            await equal(node, poll)


def append_only_file(redis: RedisServer) -> Path:
    return max((redis.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.name)


async def test_everysec_loses_and_is_whole_again_under_a_new_epoch(site: Site, tmp_path: Path) -> None:
    with redis_server(tmp_path / "everysec", appendfsync="everysec") as redis:
        site.redis = redis
        async with site.open() as node:
            poll, quiet = await node.poll(), await node.poll()
            said = await some_votes(node, poll, range(30))
            await some_votes(node, quiet, range(10))
            nothing = await node.poll()
            await node.vote(nothing, "bob", "b1", 0)
            await node.drain()
            size = append_only_file(redis).stat().st_size
            said |= await some_votes(node, poll, range(30, 50))
            # Takes no seq of its own: the poll's seq does not tell that Redis lost it.
            said_nothing = await node.retract(nothing, "ann", "a1")
            await node.drain()
            unstored = await some_votes(node, poll, range(50, 60))
            before = await node.state(poll)
            redis.kill()
            with append_only_file(redis).open("r+b") as file:
                file.truncate(size)
            redis.start()
            after = await until(lambda: _state(node, poll), "a read")
            assert after.epoch == before.epoch + 1
            await all_repeat(node, poll, said)
            for id in unstored:
                voter, _, number = id.rpartition("-")
                n = int(voter[1:])
                if number == "1":
                    assert not received(await node.vote(poll, voter, id, n % 3)).repeated
            await equal(node, poll)
            repeats(await node.retract(nothing, "ann", "a1"), said_nothing)
            received(await node.vote(nothing, "ann", "a2", 1))
            assert (await equal(node, nothing))[0] == 2
            assert (await equal(node, quiet))[0] == 9
            with pytest.raises(Gone):
                redis.kill()
                await node.redis("PING")
            redis.start()
