"""The queries of ``sql/queries/ledger.sql``: which deployment a database belongs to, and which Redis holds its partitions."""

from collections.abc import Mapping

from msgspec import Struct

from ..ports.database import Queries, Value


class Identity(Struct, frozen=True):
    """``id``: the deployment's ID, written to SQL and to every partition in Redis. ``layout``: see ``LAYOUT``."""

    id: str
    layout: int


class Renewal(Struct, frozen=True):
    """``run``: run ID of the server that holds a partition. ``renewal``: changes while its fence is valid."""

    run: str
    renewal: str


async def identity(q: Queries) -> Identity:
    found = {row["name"]: row["value"] for row in await q.all("ledger.identity")}
    return Identity(found["ledger"], int(found["layout"]))


async def renewal(q: Queries, partition: int) -> Renewal | None:
    row = await q.one("ledger.partition", partition=partition)
    return None if row is None else Renewal(**row)


async def renew(q: Queries, runs: Mapping[int, str], renewal: str) -> None:
    """``runs``: partition -> run ID. Ordered, so that concurrent renewals cannot deadlock."""

    def row(partition: int, run: str) -> dict[str, Value]:
        return {"partition": partition, "run": run, "renewal": renewal}

    await q.bulk("ledger.renew", [row(*held) for held in sorted(runs.items())])
