"""What happens: images, voters, votes with changes, retractions and repetitions, log-outs, the close, and the counts."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiomysql
import httpx

from scripts.demo import stored
from scripts.demo_all.poll import Demo, Site, each
from scripts.demo_all.voters import Failed, HttpVoter, RawVoter, SocketIoVoter, Voter, Watcher, node

LIMIT_SECONDS = 180.0
SHOWN_EVERY = 0.5
LIKING = (4, 3, 2, 1)


async def play(site: Site, voters: int, seconds: float, patience: float) -> bool:
    """Whether all counts are equal. Raises ``Failed``, in a group, where something else is not as it should be."""
    async with asyncio.timeout(LIMIT_SECONDS + seconds + 2 * patience), AsyncExitStack() as stack:
        timeout, limits = httpx.Timeout(15, pool=None), httpx.Limits(max_connections=32)
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits, trust_env=False)
            )
            for url in site.instances
        ]
        demo = Demo(site, clients)
        await demo.open()
        await demo.images()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(demo.consume())]
            sockets = await demo.guests(voters)
            async with node(site.library, sockets, group):
                tasks += await join(demo, group)
                tasks.append(group.create_task(narrate(demo)))
                await vote(demo, seconds)
                await log_out(demo)
                await close(demo)
                equal = await compare(demo, patience)
                for task in tasks:
                    task.cancel()
    return equal


async def join(demo: Demo, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    tasks: list[asyncio.Task[None]] = []

    async def one(voter: Voter) -> None:
        if isinstance(voter, RawVoter):
            tasks.append(group.create_task(voter.run()))
        elif isinstance(voter, SocketIoVoter):
            await voter.join()
        if isinstance(voter, Watcher):
            await voter.until("the state of the poll")

    await each(one(voter) for voter in demo.voters)
    for kind in (RawVoter, SocketIoVoter, HttpVoter):
        on = Counter(voter.instance for voter in demo.voters if isinstance(voter, kind))
        print(f"{on.total()} voters by {kind.name}: {on[0]} on instance 1, {on[1]} on instance 2")
    return tasks


async def vote(demo: Demo, seconds: float) -> None:
    """Of five voters of each kind one changes its vote, one takes it back, one sends it again to the other instance."""
    ids = [option["id"] for option in demo.poll["options"]]
    done: Counter[str] = Counter()

    async def one(n: int, voter: Voter) -> None:
        await asyncio.sleep(random.uniform(0, seconds))
        first = random.choices(ids, LIKING)[0]
        await voter.cast(first)
        done["votes"] += 1
        act = n // 3 % 5
        if act == 1:
            await voter.cast(random.choice([option for option in ids if option != first]))
            done["changes"] += 1
        elif act == 2:
            await voter.cast(None)
            done["retractions"] += 1
        elif act == 3:
            await repeat(demo, voter)
            done["repetitions"] += 1

    async with asyncio.TaskGroup() as group:
        for n, voter in enumerate(demo.voters):
            group.create_task(one(n, voter))
    print("acknowledged: " + ", ".join(f"{number} {what}" for what, number in done.items()))


async def repeat(demo: Demo, voter: Voter) -> None:
    ballot, answer = voter.last
    other = 1 - voter.instance
    again = HttpVoter(other, demo.clients[other], voter.token, voter.poll)
    second = await again.cast(voter.choice, ballot)
    if not second["repeated"] or second["seq"] != answer["seq"]:
        raise Failed(f"a ballot sent again was answered with {second}, the first time with {answer}")


async def log_out(demo: Demo) -> None:
    """One voter of each kind of socket, through the other instance."""
    expected = {RawVoter: "close code 4401", SocketIoVoter: "io server disconnect"}
    for voter in (demo.one(RawVoter), demo.one(SocketIoVoter)):
        headers = {"Authorization": f"Bearer {voter.token}"}
        await demo.call(1 - voter.instance, "POST", "/auth/logout", headers=headers)
        if (ended := await voter.end()) != expected[type(voter)]:
            raise Failed(f"a {voter.name} voter that was logged out got {ended}")
        here, there = voter.instance + 1, 2 - voter.instance
        print(f"logged out through instance {there}: a {voter.name} voter on instance {here} got {ended}")


async def close(demo: Demo) -> None:
    await demo.call(1, "POST", f"/polls/{demo.poll['id']}/close", headers=demo.owner)
    sockets = [voter for voter in demo.voters if isinstance(voter, Watcher)]
    watchers = [socket for socket in sockets if not socket.ended]
    await each(watcher.until("the final tally", final=True) for watcher in watchers)
    tallies = {str(sorted(watcher.tally.items())) for watcher in watchers}
    if len(tallies) != 1:
        raise Failed(f"sockets have different final tallies: {tallies}")
    print(f"closed through instance 2: {len(watchers)} sockets on both show the same final tally")
    for how, number in sorted(Counter(socket.ended for socket in sockets if socket.ended).items()):
        print(f"ended before: {number} with {how}")
    for late in (demo.one(RawVoter), demo.one(SocketIoVoter), demo.one(HttpVoter)):
        await late.cast(demo.poll["options"][0]["id"], refusal="POLL_CLOSED")
    print("a late vote of each kind: POLL_CLOSED")


async def compare(demo: Demo, patience: float) -> bool:
    """Print who counted what. SQL and Kafka follow in their own time: each gets ``patience`` seconds."""
    acked = demo.acked()
    rows = await stored(demo.site.settings["DATABASE_URL"], {demo.poll["id"]: acked}, patience)
    until = asyncio.get_running_loop().time() + patience
    while demo.of_kafka() != acked and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.1)
    counts = {
        "acked": acked,
        "instance 1": await demo.results(0),
        "instance 2": await demo.results(1),
        "MariaDB": rows.get(demo.poll["id"], {}),
        "Kafka": demo.of_kafka(),
    }
    print("\n" + " " * 8 + "".join(f"{name:>12}" for name in counts))
    for option in demo.poll["options"]:
        print(
            f"{option['label']:<8}"
            + "".join(f"{count.get(option['id'], 0):>12}" for count in counts.values())
        )
    print(f"{'all':<8}" + "".join(f"{sum(count.values()):>12}" for count in counts.values()))
    return all(count == acked for count in counts.values())


async def narrate(demo: Demo) -> None:
    """How far each of them is, twice a second while that moves: voters whose choice stands."""
    labels = {option["id"]: option["label"] for option in demo.poll["options"]}
    parts = urlsplit(demo.site.settings["DATABASE_URL"])
    async with aiomysql.connect(
        host=parts.hostname, port=parts.port, user=parts.username, db=parts.path[1:], autocommit=True
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        shown = ""
        while True:
            await cursor.execute("SELECT COUNT(*) FROM ballots WHERE choices <> ''")
            ((rows,),) = await cursor.fetchall()
            row = _row(demo, rows, labels)
            if row != shown:
                print(row, flush=True)
            shown = row
            await asyncio.sleep(SHOWN_EVERY)


def _row(demo: Demo, rows: int, labels: Mapping[str, str]) -> str:
    first, second = demo.tally(0), demo.tally(1)
    counts = " ".join(f"{labels[option]} {n}" for option, n in first.get("counts", {}).items())
    numbers = [
        sum(demo.acked().values()),
        first["voters"],
        second["voters"],
        rows,
        sum(demo.of_kafka().values()),
    ]
    names = ("acked", "instance 1", "instance 2", "MariaDB", "Kafka")
    return " · ".join(f"{name} {n:>4}" for name, n in zip(names, numbers, strict=True)) + f" · {counts}"
