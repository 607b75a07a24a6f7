"""What ``/readyz`` asks of the stores, and what it says about durability."""

from contextlib import suppress
from typing import Final

from ..adapters.redis.connection.durability import durability
from ..adapters.redis.connection.topology import is_cluster
from ..domain.errors import PollroomError
from ..services.health import Check, Probe
from ..services.vote_log.kafka_relay import lag
from ..workers.kafka_relay import Relay
from ..workers.vote_worker import VoteWorker
from .resources import Resources

PROBE_EXPIRY_MS: Final = 60_000


def checks(
    stores: Resources, worker: VoteWorker | None, relay: Relay | None
) -> tuple[dict[str, Check], dict[str, Check]]:
    """Without the first ones a process is not ready; the second ones are shown beside them."""

    async def redis_answers() -> str:
        for server in await stores.client.nodes():
            await server.ping()
        entries = await stores.votes.length(stores.ledger.generations)
        return f"{stores.ledger.batcher.waiting} ballots on their way, {entries} entries in the vote log"

    async def sql_answers() -> str:
        await stores.database.partitions()
        return stores.database.dialect

    async def images_kept() -> str:
        if stores.storage.error is not None:
            raise OSError(stores.storage.error)
        return stores.storage.status

    async def kafka_lags() -> str:
        text = "SQL does not say how far it is"
        with suppress(PollroomError):
            text = await lag(stores.database)
        if relay is not None and relay.error:
            raise OSError(f"relay: {relay.error}; {text}")
        return text

    async def ledger_fits() -> str:
        if stores.ledger_watch.problem is not None:
            raise OSError(stores.ledger_watch.problem)
        return "Redis and SQL belong together"

    beside: dict[str, Check] = {"images": images_kept}
    if stores.settings.kafka_brokers:
        beside["kafka"] = kafka_lags
    if worker is not None:
        beside["worker"] = _stored_by(worker)
    return {"redis": redis_answers, "sql": sql_answers, "ledger": ledger_fits}, beside


def _stored_by(worker: VoteWorker) -> Check:
    async def votes_stored() -> str:
        if worker.error is not None:
            raise OSError(worker.error)
        return f"{worker.pending} entries to store"

    return votes_stored


def probes(stores: Resources, url: str) -> dict[str, Probe]:
    """Writes that are tried in the background. ``url``: of Redis."""

    async def redis_writes() -> None:
        for partition in range(stores.keys.partitions if is_cluster(url) else 1):
            await stores.client.set(stores.keys.probe(partition), "1", px=PROBE_EXPIRY_MS)
        if stores.child is not None:
            stores.child.check_folder()

    return {"redis": redis_writes, "sql": stores.database.probe}


async def acknowledged(stores: Resources) -> str:
    """One sentence: what it means that a vote was acknowledged here."""
    redis_safe, redis_text = await durability(stores.client)
    sql_safe, sql_text = await stores.database.durability()
    worst = {True: "kept on disk", None: "of unknown durability", False: "NOT certainly kept"}
    verdict = worst[False if False in (redis_safe, sql_safe) else redis_safe and sql_safe]
    return f"An acknowledged vote is {verdict}: {redis_text}; {sql_text}."
