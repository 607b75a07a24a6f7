"""What keeps data, built and opened: database, Redis, the ledger with its delivery, storage."""

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ..adapters.image_processes import ImageProcesses
from ..adapters.image_storage import LocalStorage, S3Storage
from ..adapters.redis.connection.client import connect
from ..adapters.redis.connection.clock import RedisClock
from ..adapters.redis.connection.cluster import Client, open_client
from ..adapters.redis.connection.keys import Keys
from ..adapters.redis.connection.rights import check_rights
from ..adapters.redis.connection.topology import is_cluster
from ..adapters.redis.embedded.server_process import AlreadyRunning, RedisServerProcess
from ..adapters.redis.ledger.fences import RedisFences
from ..adapters.redis.ledger.ledger import RedisLedger
from ..adapters.redis.ledger.poll_store import RedisPollStore
from ..adapters.redis.ledger.vote_log import RedisVoteLog
from ..adapters.sql.database import SqlDatabase
from ..domain.errors import PollroomError
from ..domain.values import new_id
from ..repositories.relay_offsets import remove
from ..repositories.settings import kept
from ..services.accounts.password_hashing import PasswordHashing
from ..services.polls.account_removal import AccountRemoval
from ..services.polls.commitments import Committer
from ..services.polls.eviction import Eviction
from ..services.polls.operators import Operators
from ..services.polls.option_images import OptionImages
from ..services.polls.poll_loader import PollLoader
from ..services.polls.poll_reader import PollReader
from ..services.polls.retention import Retention
from ..services.polls.signing import KEY_BYTES, NoteSigner
from ..services.recovery.ledger_watch import LedgerWatch
from ..services.recovery.ownership import SILENCE_SECONDS, LedgerMismatch, Ownership
from ..services.recovery.partition_verifier import PartitionVerifier
from ..services.recovery.recount import Recounter
from ..services.recovery.sql_rebuild import Restorer
from ..services.vote_log.kafka_relay import Relaying
from ..services.vote_log.recorder import Recorder
from ..services.voting.archived_polls import ArchivedPolls
from ..utils import logger
from ..utils.supervisor import Supervisor
from ..workers.kafka_relay import Relay
from ..workers.vote_worker import VoteWorker
from .settings import ConfigError, Settings
from .startup import awaited, naming

LOG_SECONDS = 5.0
"""The worker's reads wait in Redis for new entries, for half a second each."""
VERIFIED_AT_ONCE = 16

_log = logger.get(__name__)


class NotMigrated(Exception):
    """The database has no tables yet. ``str()`` is a sentence for the operator."""


@dataclass
class Resources:
    """What keeps data, opened. ``child``: the private Redis of the embedded default. ``sharded``: its pub/sub is."""

    settings: Settings
    database: SqlDatabase
    client: Client
    sharded: bool
    keys: Keys
    clock: RedisClock
    ledger: RedisLedger
    votes: RedisVoteLog
    editor: PollLoader
    reader: PollReader
    poll_store: RedisPollStore
    restorer: Restorer
    child: RedisServerProcess | None
    storage: LocalStorage | S3Storage
    supervisor: Supervisor
    ledger_watch: LedgerWatch
    kafka_secret: bytes
    signer: NoteSigner

    def worker(self) -> VoteWorker:
        recorder = Recorder(self.database)
        return VoteWorker(
            self.database,
            self.votes,
            recorder,
            self.clock,
            self.keys.partitions,
            owner=new_id(),
            restore=self.restorer.restore,
            lag_limit=self.settings.kafka_lag_limit,
        )

    def relay(self) -> Relay | None:
        """None where ballots are relayed to nobody. ``ConfigError`` without aiokafka."""
        settings, keys = self.settings, self.keys
        if not settings.kafka_brokers:
            return None
        try:
            from ..adapters.kafka import KafkaTopic
        except ModuleNotFoundError:
            raise ConfigError(
                "KAFKA_BROKERS", "empty where aiokafka is not installed (pip install .[kafka])"
            ) from None
        topic = KafkaTopic(settings.kafka_brokers, settings.kafka_topic, keys.partitions)
        fences = RedisFences(self.client, keys)
        relaying = Relaying(
            self.database, self.votes, fences, topic, keys.partition, keys.partitions, self.kafka_secret
        )
        return Relay(self.database, relaying, topic, self.clock, owner=new_id())

    def recorder(self) -> Recorder:
        return Recorder(self.database)

    def unloader(self) -> Eviction:
        return Eviction(self.database, self.poll_store, self.settings.unload_after_seconds)

    def option_images(self, processor: ImageProcesses) -> OptionImages:
        most_bytes = self.settings.max_image_bytes_per_user
        return OptionImages(self.database, self.editor, self.reader, self.storage, processor, most_bytes)

    def operators(self) -> tuple[Operators, Callable[[], None]]:
        """And what closes it."""
        hasher = PasswordHashing()
        images = self.option_images(ImageProcesses())
        return Operators(self.database, self.ledger, self.clock, hasher, images), hasher.close

    def account_removal(self) -> AccountRemoval:
        images = self.option_images(ImageProcesses())
        return AccountRemoval(self.database, self.ledger, self.clock, images)

    def retention(self) -> Retention | None:
        days = self.settings.retention_days
        if days is None:
            return None
        return Retention(self.database, self.ledger, self.poll_store, self.clock, days * 86_400)

    def committer(self, worker: VoteWorker) -> Committer:
        return Committer(
            self.database, self.ledger, self.poll_store, self.clock, self.signer, lambda: worker.leased
        )

    def recounter(self) -> Recounter:
        return Recounter(self.database, self.ledger, self.restorer)


async def migrate(settings: Settings) -> int:
    """Apply what is missing; how many."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with naming("DATABASE_URL", "the database"):
        async with SqlDatabase(settings.database_url) as database:
            return await database.migrate(settings.partitions)


async def remove_relay(settings: Settings) -> int:
    """Keep the log for it no longer; in how many partitions it was read."""
    with naming("DATABASE_URL", "the database"):
        async with SqlDatabase(settings.database_url) as database:
            if await database.partitions() is None:
                raise NotMigrated("The database has no tables of Pollroom.")
            async with database.transaction() as queries:
                return await remove(queries)


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    beside: bool = False,
    heals: bool = False,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncIterator[Resources]:
    """Everything that keeps data, the ledger's delivery running. Ends in the reverse order.

    ``beside``: where a server runs on the same ``DATA_DIR``, its Redis is used instead of being refused.
    ``heals``: see ``PartitionVerifier``. ``silence_seconds``: see ``Ownership``.
    """
    settings.require_pair()
    async with AsyncExitStack() as stack:
        supervisor = Supervisor()
        url, child = settings.redis_url, None
        if url is None:
            child = RedisServerProcess(settings.data_dir)
            url = child.url
            try:
                await child.start()
            except AlreadyRunning:
                if not beside:
                    raise
            else:
                stack.push_async_callback(child.stop)
                await stack.enter_async_context(supervisor.running("redis-server", child.supervise))
        if settings.embedded_database:
            await migrate(settings)
        with naming("DATABASE_URL", "the database"):
            database = await stack.enter_async_context(SqlDatabase(settings.database_url))
            partitions = await database.partitions()
            if partitions is None:
                raise NotMigrated("The database has no tables of Pollroom: run the command `migrate` first.")
            if settings.partitions not in (None, partitions):
                raise NotMigrated(f"PARTITIONS is {partitions} in this database and cannot change.")
            await database.check()
            kafka_secret = await _kafka_secret(database, settings) if settings.kafka_brokers else b""

        client = open_client(url)
        stack.push_async_callback(client.aclose)
        slow = client if is_cluster(url) else connect(url, timeout=LOG_SECONDS)
        stack.push_async_callback(slow.aclose)
        keys, clock = Keys(partitions), RedisClock()
        with naming("REDIS_URL", "Redis"):
            await awaited("Redis", lambda: check_rights(client, keys))
            await awaited("Redis", lambda: _set(clock, client))
            publish = await client.publish_command()
        signer = await _signer(database, settings)
        ledger = RedisLedger(client, keys, clock, queued_ballots=settings.max_queued_ballots, publish=publish)
        votes = RedisVoteLog(slow, keys)
        editor = PollLoader(database, ledger)
        storage = _storage(settings)
        stack.callback(storage.close)
        reader = PollReader(database, ledger, editor, storage.url)
        poll_store, fences = RedisPollStore(client, keys, publish), RedisFences(client, keys)
        # A data folder has one server at a time, so nobody else renews.
        ownership = Ownership(database, 0 if settings.embedded_database else silence_seconds)
        verifier = PartitionVerifier(database, fences, votes, poll_store, ownership, heals=heals)

        async def verify(partition: int) -> None:
            ledger.generations[partition] = await verifier.verify(partition)

        async def verify_all() -> None:
            """At the same time: on an emptied Redis each partition waits to see whether another Redis is in use."""
            some = asyncio.Semaphore(VERIFIED_AT_ONCE)

            async def verified(partition: int) -> None:
                async with some:
                    await verify(partition)

            work = [verified(partition) for partition in range(partitions)]
            failed = [end for end in await asyncio.gather(*work, return_exceptions=True) if end is not None]
            for error in failed:
                if isinstance(error, LedgerMismatch) or not isinstance(error, PollroomError):
                    raise error
            for error in failed:
                # A cluster without one of its nodes serves what the others have.
                if not is_cluster(url):
                    raise error
                _log.warning("a partition is not verified yet", error=repr(error))

        with naming("REDIS_URL or DATABASE_URL", "one of them"):
            await awaited("Redis and SQL", verify_all)

        absent = ArchivedPolls(database, editor)
        await stack.enter_async_context(
            supervisor.running("ballots", lambda: ledger.run(editor.load, absent.load, verify))
        )
        stack.push_async_callback(ledger.batcher.drain)
        yield Resources(
            settings=settings,
            database=database,
            client=client,
            sharded=publish == "SPUBLISH",
            keys=keys,
            clock=clock,
            ledger=ledger,
            votes=votes,
            editor=editor,
            reader=reader,
            poll_store=poll_store,
            restorer=Restorer(database, fences, poll_store),
            child=child,
            storage=storage,
            supervisor=supervisor,
            ledger_watch=LedgerWatch(database, fences, ownership, verify),
            kafka_secret=kafka_secret,
            signer=signer,
        )


async def _kafka_secret(database: SqlDatabase, settings: Settings) -> bytes:
    """Makes voters' pseudonyms. Kept in SQL: another ``JWT_SECRET`` must not make other voters of them."""
    derived = hmac.digest(settings.jwt_secret.encode(), b"pollroom: voters in Kafka, 1", "sha256")
    return bytes.fromhex(await kept(database, "kafka_voters", derived.hex))


async def _signer(database: SqlDatabase, settings: Settings) -> NoteSigner:
    """Signs the commitments of verifiable polls."""
    secret = settings.signing_key
    if secret is None:

        def made() -> str:
            return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()

        secret = base64.b64decode(await kept(database, "commitment_key", made))
    return NoteSigner(settings.signing_name, secret)


def _storage(settings: Settings) -> LocalStorage | S3Storage:
    base = settings.s3_public_url or "/images"
    if settings.s3_endpoint is None:
        return LocalStorage(settings.data_dir / "images", base)
    return S3Storage(
        settings.s3_endpoint,
        settings.s3_bucket,
        settings.s3_access_key or "",
        settings.s3_secret_key or "",
        base,
        public=settings.s3_public_url is not None,
    )


async def _set(clock: RedisClock, client: Client) -> None:
    asked = time.monotonic()
    seconds, micros = await client.time()
    clock.heard(int(seconds) * 1000 + int(micros) // 1000, asked)


def worker_tasks(
    resources: Resources, worker: VoteWorker, relay: Relay | None
) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    """What a worker runs, by name: storing votes, closing polls, unloading idle polls, deleting the polls of
    deleted accounts, commitments of verifiable polls, and the relay to Kafka, if any."""
    tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "worker": worker.run,
        "sweep": lambda: worker.sweep(resources.ledger.read),
        "eviction": resources.unloader().run,
        "accounts": resources.account_removal().run,
        "commitments": resources.committer(worker).run,
    }
    retention = resources.retention()
    if retention is not None:
        tasks["retention"] = retention.run
    return tasks | ({"relay": relay.run} if relay else {})
