"""A commitment stays the same whatever happens to the worker, to Redis and to SQL around it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any

import msgspec
import pytest

from app.domain.commitments import Commitment
from app.domain.errors import PollroomError, unavailable
from app.domain.polls import Rules
from app.repositories import commitments as model
from app.repositories.retention import closed_polls
from app.services.polls.commitments import CannotCommit, Committer
from app.services.polls.retention import Retention
from app.services.polls.verifying import Verifying
from tests.harness.verifying import verify
from tests.recovery.backup import backup
from tests.recovery.site import Node, Site, ballot, running, until
from tests.recovery.test_unloading import unload

pytestmark = pytest.mark.anyio

VOTERS = 1100
"""More than one row of the tree."""


async def a_closed_poll(node: Node, voters: int = 40) -> Rules:
    """Its ballots and its closing are stored in SQL; nothing is committed yet."""
    poll = await node.poll(verifiable=True)
    for start in range(0, voters, 500):
        numbers = range(start, min(voters, start + 500))
        await node.cast(*(ballot(poll, f"v{n}", f"{n:0>22}", n % 3) for n in numbers))
    await node.cast(ballot(poll, "v1", "another" * 4, 0))
    await node.retract(poll, "v2", "gone")
    await node.stores.ledger.close(poll.id)
    await node.drain()
    return poll


def committer(node: Node, database: Any = None) -> Committer:
    stores = node.stores
    return Committer(
        database or stores.database,
        stores.ledger,
        stores.poll_store,
        stores.clock,
        stores.signer,
        lambda: frozenset({0}),
    )


async def published(node: Node, poll: Rules, by: Committer | None = None) -> model.Stored:
    """The commitment, once the ledger has it and SQL knows that."""
    by = by or committer(node)
    for _ in range(3):
        await by.commit(poll.id)
        await node.drain()
    stored = await model.find(node.stores.database, poll.id)
    assert stored is not None and stored.published_at is not None
    assert (await node.state(poll)).commitment == stored.commitment
    return stored


def said(stored: model.Stored) -> tuple[Any, ...]:
    """What clients see of it."""
    return stored.commitment, stored.terms, stored.asked, stored.checkpoint


async def rows_of_others(node: Node, stored: model.Stored) -> bool:
    async with node.stores.database.transaction() as q:
        return await model.remove_other_rows(q, stored.poll_id, stored.build)


class DyingDatabase:
    """As a process that dies after so many statements; ``left``: how many are still allowed."""

    def __init__(self, database: Any, left: int) -> None:
        self._database = database
        self.left = left

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, self._database, name)

    async def _call(self, queries: Any, name: str, *args: Any, **values: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise unavailable()
        return await getattr(queries, name)(*args, **values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._database.transaction() as q:
            yield _Dying(self, q)
            if self.left <= 0:
                raise unavailable()  # before the commit


class _Dying:
    def __init__(self, database: DyingDatabase, queries: Any) -> None:
        self._parent, self._queries = database, queries

    def __getattr__(self, name: str) -> Any:
        return partial(self._parent._call, self._queries, name)


async def test_a_worker_that_dies_after_any_statement_is_followed_by_the_same_commitment(site: Site) -> None:
    async with site.open() as node:
        first = await a_closed_poll(node, VOTERS)
        wanted = await published(node, first)
        assert wanted.commitment.size == VOTERS - 1
        rows = await node.stores.database.all("commitment.count_chunks", build=wanted.build)
        assert rows[0]["n"] == 3
        steps, done = 0, False
        while not done:
            poll = await a_closed_poll(node)
            dying = DyingDatabase(node.stores.database, steps)
            try:
                await committer(node, dying).commit(poll.id)
                done = True
            except PollroomError:
                pass
            before = await model.find(node.stores.database, poll.id)
            stored = await published(node, poll)
            assert before is None or said(before) == said(stored)
            assert stored.commitment.size == 39 and not await rows_of_others(node, stored)
            assert await published(node, poll) == stored
            steps += 1
        assert steps > 10


class NoBudgets:
    async def take(self, *_: object) -> None:
        """Never refuses."""


async def test_proofs_and_the_list_of_a_tree_of_two_levels(site: Site) -> None:
    async with site.open() as node:
        stores = node.stores
        poll = await a_closed_poll(node, VOTERS)
        await published(node, poll)
        verifying = Verifying(stores.database, stores.ledger, stores.signer, NoBudgets())
        found = await verifying.commitment(poll.id)
        document = msgspec.json.decode(msgspec.json.encode(found))
        root = verify.check_commitment(document)
        parts = [part async for part in verifying.ballots(None, poll.id)]
        assert len(parts) == 3
        lines = b"".join(parts).decode().splitlines()
        assert sum(verify.check_ballots(iter(lines), poll.id, document, root).values()) == VOTERS - 1
        for place in (0, 1, 1023, 1024, VOTERS - 2):
            id, chosen = lines[1 + place].split(",")
            leaf = verify.leaf_of(poll.id, document["terms"], id, chosen.split(" "))
            proof = await verifying.proof(poll.id, leaf.hex(), None)
            assert proof.index == place
            path = [bytes.fromhex(node) for node in proof.path]
            assert verify.root_of_path(leaf, place, proof.size, path) == root
        for leaf in ("0" * 64, "f" * 64):
            with pytest.raises(PollroomError, match="leaf"):
                await verifying.proof(poll.id, leaf, None)


async def test_equal_leaves_across_rows_are_found_at_the_first(site: Site) -> None:
    """Voters whose devices all use one id."""
    async with site.open() as node:
        stores = node.stores
        poll = await node.poll(verifiable=True)
        for start in range(0, 2100, 500):
            numbers = range(start, min(2100, start + 500))
            await node.cast(*(ballot(poll, f"v{n}", "x" * 22, 0) for n in numbers))
        await node.cast(*(ballot(poll, f"w{n}", f"{n:0>22}", 1) for n in range(20)))
        await stores.ledger.close(poll.id)
        await node.drain()
        stored = await published(node, poll)
        assert stored.commitment.size == 2120
        verifying = Verifying(stores.database, stores.ledger, stores.signer, NoBudgets())
        leaf = verify.leaf_of(poll.id, stored.terms, "x" * 22, [poll.options[0].id])
        proof = await verifying.proof(poll.id, leaf.hex(), None)
        lower = sum(
            verify.leaf_of(poll.id, stored.terms, f"{n:0>22}", [poll.options[1].id]) < leaf for n in range(20)
        )
        assert proof.index == lower
        path = [bytes.fromhex(node) for node in proof.path]
        assert verify.root_of_path(leaf, lower, 2120, path).hex() == stored.commitment.root


async def test_an_emptied_redis_gets_it_back_from_sql(site: Site) -> None:
    async with site.open() as node:
        poll = await a_closed_poll(node)
        stored = await published(node, poll)
        epoch = (await node.state(poll)).epoch
        await node.redis("FLUSHALL")
        state = await until(lambda: _state(node, poll), "a read")
        assert state.epoch == epoch + 1 and state.commitment == stored.commitment
        assert await published(node, poll) == stored


async def _state(node: Node, poll: Rules) -> Any:
    try:
        return await node.state(poll)
    except PollroomError:
        return None


async def test_a_redis_put_back_to_before_the_publication_gets_it_again(site: Site) -> None:
    async with site.open() as node:
        poll = await a_closed_poll(node)
        site.redis.kill()
        copy = site.folder / "copy"
        shutil.copytree(site.redis.folder, copy)
        site.redis.start()
        await until(lambda: _state(node, poll), "a read")
        stored = await published(node, poll)
        site.redis.kill()
        shutil.rmtree(site.redis.folder)
        shutil.copytree(copy, site.redis.folder)
        site.redis.start()
        state = await until(lambda: _state(node, poll), "a read")
        assert state.commitment == stored.commitment
        assert await published(node, poll) == stored


async def test_a_publication_that_redis_loses_before_sql_has_it_is_repeated(site: Site) -> None:
    """The log entry of the publication is not stored yet: nothing else would notice the loss."""
    async with site.open() as node:
        poll = await a_closed_poll(node)
        site.redis.kill()
        copy = site.folder / "copy"
        shutil.copytree(site.redis.folder, copy)
        site.redis.start()
        await until(lambda: _state(node, poll), "a read")
        await committer(node).commit(poll.id)
        before = await model.find(node.stores.database, poll.id)
        assert before is not None and before.published_at is None
        assert (await node.state(poll)).commitment == before.commitment
        site.redis.kill()
        shutil.rmtree(site.redis.folder)
        shutil.copytree(copy, site.redis.folder)
        site.redis.start()
        await until(lambda: _state(node, poll), "a read")
        assert said(await published(node, poll)) == said(before)


@pytest.mark.parametrize("when", ["before the close", "after the close"])
async def test_sql_put_back_to_before_it_builds_the_same_again(site: Site, when: str) -> None:
    async with site.open() as node:
        if when == "before the close":
            poll = await node.poll(verifiable=True)
            await node.cast(*(ballot(poll, f"v{n}", f"{n:0>22}", n % 3) for n in range(10)))
            await node.drain()
            put_back = await backup(site)
            await node.cast(*(ballot(poll, f"v{n}", f"{n:0>22}", n % 3) for n in range(10, 20)))
            await node.stores.ledger.close(poll.id)
            await node.drain()
        else:
            poll = await a_closed_poll(node)
            put_back = await backup(site)
        wanted = await published(node, poll)
        await put_back()
        assert await model.find(node.stores.database, poll.id) is None
        assert (await node.state(poll)).commitment == wanted.commitment
        async with running(node.stores.worker()):
            await until(lambda: model.due(node.stores.database, 10), "the closing", 15)
        assert said(await published(node, poll)) == said(wanted)


async def test_other_ballots_than_those_published_get_no_other_commitment(small: Site) -> None:
    """SQL lost its tree, and a ballot of it was changed by hand."""
    import sqlite3

    async with small.open() as node:
        poll = await a_closed_poll(node)
        put_back = await backup(small)
        wanted = await published(node, poll)
        await put_back()
        with closing(sqlite3.connect(small.sqlite_file, timeout=10)) as database, database:
            database.execute("UPDATE ballots SET choices = ? WHERE voter_id = 'v3'", (poll.options[2].id,))
        for _ in range(2):
            with pytest.raises(CannotCommit, match="not those of the commitment that was published"):
                await committer(node).commit(poll.id)
        assert await model.find(node.stores.database, poll.id) is None
        assert (await node.state(poll)).commitment == wanted.commitment
        # Nor where both have finished one: what the ledger published stays.
        other = Commitment(1, "0" * 64)
        state = await node.stores.ledger.publish_commitment(poll.id, other)
        assert state is not None and state.commitment == wanted.commitment


async def test_a_repaired_recount_leaves_it(site: Site) -> None:
    async with site.open() as node:
        poll = await a_closed_poll(node)
        stored = await published(node, poll)
        await node.redis("HINCRBY", node.stores.keys.poll(poll.id)[1], poll.options[0].id, 5)
        assert (await node.stores.recounter().repair(poll.id)).equal
        await node.drain()
        assert await published(node, poll) == stored


async def test_two_workers_at_once_agree(site: Site) -> None:
    async with site.open() as node, site.open() as other:
        poll = await a_closed_poll(node, VOTERS)
        ends = await asyncio.gather(
            *(committer(one).commit(poll.id) for one in (node, other, node)), return_exceptions=True
        )
        assert all(end is None or isinstance(end, CannotCommit | PollroomError) for end in ends), ends
        stored = await published(node, poll)
        await published(other, poll)
        assert stored.commitment.size == VOTERS - 1 and not await rows_of_others(node, stored)
        for position in range(2):
            assert await model.nodes(node.stores.database, stored.build, 0, position)


async def test_a_poll_that_left_redis_before_it_is_not_loaded_for_it(site: Site) -> None:
    async with site.open(worker=True) as node:
        poll = await a_closed_poll(node)
        await unload(node, poll)
        await committer(node).commit(poll.id)
        assert not await node.held(poll)
        stored = await model.find(node.stores.database, poll.id)
        assert stored is not None and stored.published_at is not None
        assert (await node.state(poll)).commitment == stored.commitment


async def test_a_deleted_poll_gets_none(site: Site) -> None:
    async with site.open() as node:
        poll = await a_closed_poll(node)
        await node.stores.ledger.delete(poll.id)
        await node.drain()
        assert await model.due(node.stores.database, 10) == []
        await committer(node).commit(poll.id)
        assert await model.find(node.stores.database, poll.id) is None


async def test_voters_are_forgotten_only_after_it_and_ballot_ids_stay(site: Site) -> None:
    async with site.open(worker=True) as node:
        stores = node.stores
        poll = await a_closed_poll(node)
        retention = Retention(stores.database, stores.ledger, stores.poll_store, stores.clock, 0.001)
        await retention._close(stores.clock.now() + 1000)
        assert await closed_polls(stores.database, stores.clock.now(), 10) == [poll.id]
        stored = await published(node, poll)
        await retention._close(stores.clock.now() + 1000)
        assert await closed_polls(stores.database, stores.clock.now(), 10) == []
        found = await model.standing_ballots(stores.database, poll.id, "", 100)
        assert all(voter.startswith("~") for voter, _, _ in found)
        lines = await model.ballots_of_row(stores.database, stored.build, 0)
        assert lines is not None
        assert sorted(line.split(",")[0] for line in lines.splitlines()) == sorted(id for _, id, _ in found)
        assert (await node.state(poll)).commitment == stored.commitment
        await stores.ledger.delete(poll.id)
        await node.drain()

        async def gone() -> bool:
            await retention._delete(stores.clock.now() + 1000)
            return await model.find(stores.database, poll.id) is None

        await until(gone, "no commitment")
        assert await model.nodes(stores.database, stored.build, 0, 0) is None
