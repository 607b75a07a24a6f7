"""Every ballot on the topic: in order, once SQL has it, with pseudonyms, and the log kept until then."""

import pytest

from app.domain.errors import PollroomError
from app.repositories import relay_offsets as readers
from tests.kafka.relayed import (
    Relayed,
    caught_up,
    distinct,
    equal,
    in_order,
    logged,
    positions,
    relaying,
    trimmed,
    vote,
)
from tools.harness.process import run

pytestmark = pytest.mark.anyio


async def test_every_ballot_is_relayed_in_order_of_its_poll(site: Relayed) -> None:
    async with site.open(worker=True) as node:
        polls = [await node.poll() for _ in range(5)]
        async with relaying(node) as relay:
            await caught_up(node)  # before the first vote: nothing comes from SQL
            given = [*await vote(node, polls, range(40)), *await vote(node, polls, range(40), 2)]
            await caught_up(node)
            assert relay.error is None
            await trimmed(node)
        messages = await equal(site, node, polls)
        in_order(messages)
        assert not any(message["resent"] for message in messages)
        said = sorted((m["poll"], m["seq"], tuple(m["optionIds"]), m["retracted"]) for m in messages)
        assert said == sorted((r.poll_id, r.seq, r.choices, not r.choices) for r in given)


async def test_a_message_has_these_fields_and_no_voter(small: Relayed) -> None:
    async with small.open(worker=True) as node, relaying(node):
        await caught_up(node)
        one, other = await node.poll(), await node.poll()
        receipts = [*await vote(node, [one, other], range(3)), *await vote(node, [one], range(3), 2)]
        await caught_up(node)
        messages = await small.messages()
    first = next(m for m in messages if m["poll"] == one.id and m["seq"] == receipts[0].seq)
    assert first | {"voter": "", "at": ""} == {
        "v": 1,
        "poll": one.id,
        "voter": "",
        "epoch": 1,
        "seq": receipts[0].seq,
        "n": 1,
        "optionIds": list(receipts[0].choices),
        "retracted": False,
        "at": "",
        "resent": False,
    }
    assert first["at"].endswith("Z")
    of_one = {m["voter"] for m in messages if m["poll"] == one.id}
    assert len(of_one) == 3
    assert not of_one & {m["voter"] for m in messages if m["poll"] == other.id}
    assert not any(m["voter"].startswith("v") and len(m["voter"]) < 5 for m in messages)


async def test_what_was_voted_before_the_first_relay_comes_from_sql(site: Relayed) -> None:
    async with site.open(worker=True) as node:
        polls = [await node.poll() for _ in range(3)]
        await vote(node, polls, range(30))
        await vote(node, polls, range(10), 2)
        await node.drain()
        async with relaying(node):
            await caught_up(node)
            assert {m["resent"] for m in await equal(site, node, polls)} == {True}
            await vote(node, polls, range(20, 40), 3)
            await caught_up(node)
        in_order(await equal(site, node, polls))


async def test_it_never_passes_sql(small: Relayed) -> None:
    async with small.open() as node:  # without a worker: SQL has nothing until it is drained
        polls = [await node.poll() for _ in range(3)]
        relay = node.stores.relay()
        assert relay is not None
        for _ in range(2):  # takes its place, and finds nothing that lies before it
            await relay._relaying.register()
            for partition in range(small.partitions):
                await relay._relaying.step(partition)
        await vote(node, polls, range(10))
        for partition in range(small.partitions):
            await relay._relaying.step(partition)
        assert await small.messages() == []
        await node.drain()
        for partition in range(small.partitions):
            await relay._relaying.step(partition)
        assert len(await equal(small, node, polls)) == 30
        await relay._topic.close()


async def test_the_log_is_kept_for_the_slower_one_until_it_is_removed(on_mariadb: Relayed) -> None:
    async with on_mariadb.open(worker=True) as node:
        polls = [await node.poll() for _ in range(3)]
        async with relaying(node):
            await caught_up(node)
            await trimmed(node)
        await vote(node, polls, range(20))
        await node.drain()
        assert await logged(node) == 60
        async with relaying(node):
            await caught_up(node)
            await trimmed(node)
        await vote(node, polls, range(20, 40))
        done = run(["relay", "--remove"], on_mariadb.environ())
        assert (done.returncode, done.stdout) == (0, "3 partitions are no longer relayed\n")
        assert await positions(node) == []
        assert await readers.behind(node.stores.database, "", 10) != []
        await vote(node, polls, range(40, 60))
        await node.drain()
        await trimmed(node)


async def test_a_second_relay_stands_by_and_takes_over(site: Relayed) -> None:
    async with site.open(worker=True) as node:
        polls = [await node.poll() for _ in range(3)]
        async with relaying(node):
            await caught_up(node)  # before the first vote: what comes from SQL may come from the log, too
            await vote(node, polls, range(10))
            await caught_up(node)
            async with site.open() as other, relaying(other) as second:
                await vote(node, polls, range(10, 20))
                await caught_up(node)
                assert second._leased == frozenset()
        async with relaying(node):
            await vote(node, polls, range(20), 2)
            await caught_up(node)
        messages = await equal(site, node, polls)
        in_order(messages)
        assert len(messages) == len(distinct(messages))


async def test_an_entry_that_nobody_can_read_is_passed_over(small: Relayed) -> None:
    async with small.open(worker=True) as node, relaying(node):
        poll = await node.poll()
        await vote(node, [poll], range(3))
        partition = node.stores.keys.partition(poll.id)
        await node.redis("XADD", node.stores.keys.log(partition, 1), "*", "e", b"\xc1")  # type: ignore[arg-type]
        await vote(node, [poll], range(3, 6))
        await caught_up(node)
        await equal(small, node, [poll])


async def test_a_topic_with_fewer_partitions_is_taken_as_it_is(small: Relayed) -> None:
    one = Relayed(small.folder, small.redis, None, 1, small.brokers, small.topic)
    from app.adapters.kafka import KafkaTopic

    made = KafkaTopic([small.brokers], small.topic, 1)
    await made.ready()
    await made.close()
    async with small.open(worker=True) as node, relaying(node):
        polls = [await node.poll() for _ in range(6)]
        await vote(node, polls, range(10))
        await caught_up(node)
        in_order(await equal(one, node, polls))


async def test_a_topic_that_cannot_be_reached_is_unavailable() -> None:
    from app.adapters.kafka import KafkaTopic

    nowhere = KafkaTopic(["127.0.0.1:1"], "votes", 1)
    with pytest.raises(PollroomError) as caught:
        await nowhere.send(0, [(b"k", b"v")])
    assert caught.value.code == "UNAVAILABLE"
    await nowhere.close()
