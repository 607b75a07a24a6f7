"""The composition root: builds everything, opens and closes it. Nothing else wires; tests use it, too."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from app import __version__
from app.adapters.database import SqlDatabase
from app.adapters.redis.child import AlreadyRunning, RedisChild
from app.adapters.redis.client import REFUSED, SILENT, connect
from app.adapters.redis.clock import RedisClock
from app.adapters.redis.cluster import Client, open_client, publish_command, servers
from app.adapters.redis.durability import durability
from app.adapters.redis.fence import RedisFences
from app.adapters.redis.keys import Keys
from app.adapters.redis.ledger import RedisLedger, parse_state
from app.adapters.redis.log import RedisVoteLog
from app.adapters.redis.pubsub import RedisBus
from app.adapters.redis.shards import ShardedBus
from app.adapters.redis.shelf import RedisShelf
from app.adapters.redis.topology import is_cluster
from app.adapters.storage import LocalStorage, S3Storage
from app.config import ConfigError, Settings
from app.http import Services, application
from app.metrics import Figures, Sources
from app.modules.types import new_id
from app.modules.vote.readers import remove
from app.services.attending import Attending
from app.services.auth import CHANNEL, Auth
from app.services.broadcast import Broadcast
from app.services.closed import Absent
from app.services.departures import Departures
from app.services.editing import Editor
from app.services.images import Images
from app.services.passwords import Passwords
from app.services.pictures import Pictures
from app.services.polls import Polls
from app.services.readiness import Check, Readiness
from app.services.reading import Reader
from app.services.recording import Recorder
from app.services.recounting import Recounter
from app.services.relaying import Relaying, lag
from app.services.restoring import Restorer
from app.services.unloading import Unloader
from app.services.verifying import Verifier
from app.services.vote import Votes
from app.utils import logger
from app.utils.errors import PollroomError
from app.websocket import endpoint
from app.websocket.asyncapi import asyncapi
from app.websocket.events import Events
from app.websocket.rooms import Rooms
from app.websocket.socket import Limits
from app.workers.relay import Relay
from app.workers.vote_worker import VoteWorker

START_SECONDS = 30.0
LOG_SECONDS = 5.0
"""The worker's reads wait in Redis for new entries, for half a second each."""
REVOKED_SECONDS = 5.0

_log = logger.get(__name__)


class NotMigrated(Exception):
    """The database has no tables yet. ``str()`` is a sentence for the operator."""


@dataclass
class Stores:
    """What keeps data, opened. ``child``: the private Redis of the embedded default. ``sharded``: its pub/sub is."""

    settings: Settings
    database: SqlDatabase
    client: Client
    sharded: bool
    keys: Keys
    clock: RedisClock
    ledger: RedisLedger
    votes: RedisVoteLog
    editor: Editor
    reader: Reader
    shelf: RedisShelf
    restorer: Restorer
    child: RedisChild | None
    storage: LocalStorage | S3Storage

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
            from app.adapters.kafka import KafkaTopic
        except ModuleNotFoundError:
            raise ConfigError(
                "KAFKA_BROKERS", "empty where aiokafka is not installed (pip install pollroom[kafka])"
            ) from None
        topic = KafkaTopic(settings.kafka_brokers, settings.kafka_topic, keys.partitions)
        fences = RedisFences(self.client, keys)
        secret = hmac.digest(settings.jwt_secret.encode(), b"pollroom: voters in Kafka, 1", "sha256")
        relaying = Relaying(self.database, self.votes, fences, topic, keys.partition, keys.partitions, secret)
        return Relay(self.database, relaying, topic, self.clock, owner=new_id())

    def recorder(self) -> Recorder:
        return Recorder(self.database)

    def unloader(self) -> Unloader:
        return Unloader(self.database, self.shelf, self.settings.unload_after_seconds)

    def recounter(self) -> Recounter:
        return Recounter(self.database, self.ledger, self.restorer)


async def migrate(settings: Settings) -> int:
    """Apply what is missing; how many."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with SqlDatabase(settings.database_url) as database:
        return await database.migrate(settings.partitions)


async def remove_relay(settings: Settings) -> int:
    """Keep the log for it no longer; in how many partitions it was read."""
    async with SqlDatabase(settings.database_url) as database:
        if await database.partitions() is None:
            raise NotMigrated("The database has no tables of Pollroom.")
        async with database.transaction() as queries:
            return await remove(queries)


@asynccontextmanager
async def open_stores(settings: Settings, *, beside: bool = False) -> AsyncIterator[Stores]:
    """Everything that keeps data, the ledger's delivery running. Ends in the reverse order.

    ``beside``: where a server runs on the same ``DATA_DIR``, its Redis is used instead of being refused.
    """
    async with AsyncExitStack() as stack:
        url, child = settings.redis_url, None
        if url is None:
            child = RedisChild(settings.data_dir)
            url = child.url
            try:
                await child.start()
            except AlreadyRunning:
                if not beside:
                    raise
            else:
                stack.push_async_callback(child.stop)
                await _running(stack, child.supervise())
        if settings.embedded_database:
            await migrate(settings)
        database = await stack.enter_async_context(SqlDatabase(settings.database_url))
        partitions = await database.partitions()
        if partitions is None:
            raise NotMigrated("The database has no tables of Pollroom: run the command `migrate` first.")
        if settings.partitions not in (None, partitions):
            raise NotMigrated(f"PARTITIONS is {partitions} in this database and cannot change.")
        await database.check()

        client = open_client(url)
        stack.push_async_callback(client.aclose)
        slow = client if is_cluster(url) else connect(url, timeout=LOG_SECONDS)
        stack.push_async_callback(slow.aclose)
        keys, clock = Keys(partitions), RedisClock()
        await _first_answer(client, clock)
        publish = await publish_command(client)
        ledger = RedisLedger(client, keys, clock, queued_ballots=settings.max_queued_ballots, publish=publish)
        votes = RedisVoteLog(slow, keys)
        editor = Editor(database, ledger)
        storage = _storage(settings)
        stack.callback(storage.close)
        reader = Reader(database, ledger, editor, storage.url)
        shelf, fences = RedisShelf(client, keys, publish), RedisFences(client, keys)
        verifier = Verifier(database, fences, votes, shelf)

        async def verify(partition: int) -> None:
            ledger.generations[partition] = await verifier.verify(partition)

        for partition in range(partitions):
            try:
                await verify(partition)
            except PollroomError as error:
                if not is_cluster(url):
                    raise
                _log.warning("a partition is not verified yet", partition=partition, error=repr(error))

        absent = Absent(database, editor)
        await _running(stack, ledger.run(editor.load, absent.load, verify))
        stack.push_async_callback(ledger.batcher.drain)
        yield Stores(
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
            shelf=shelf,
            restorer=Restorer(database, fences, shelf),
            child=child,
            storage=storage,
        )


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


async def _prepare(storage: LocalStorage | S3Storage) -> None:
    """Beside everything else: votes do not wait for where images are kept."""
    with suppress(PollroomError):  # logged there, and tried again with the first image
        await storage.prepare()


async def _first_answer(client: Client, clock: RedisClock) -> None:
    """Set the clock; wait for a Redis that is just coming up."""
    until = time.monotonic() + START_SECONDS
    while True:
        asked = time.monotonic()
        try:
            seconds, micros = await client.time()
        except (*SILENT, *REFUSED):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
        else:
            clock.heard(int(seconds) * 1000 + int(micros) // 1000, asked)
            return


async def _running(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run something for as long as the stack is open; should it fail, the process ends with its error."""
    task = asyncio.ensure_future(work)
    parent = asyncio.current_task()

    def ended(done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("a part of the server failed", error=repr(error), exc_info=error)
            if parent is not None:
                parent.cancel()

    task.add_done_callback(ended)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


@dataclass
class Web:
    """A web process, ready to be served."""

    app: ASGIApp
    readiness: Readiness
    departures: Departures
    stores: Stores
    worker: VoteWorker | None


@asynccontextmanager
async def open_web(stores: Stores, *, embedded_worker: bool) -> AsyncIterator[Web]:
    """The services and transports of a web process, running."""
    settings, database, ledger, clock = stores.settings, stores.database, stores.ledger, stores.clock
    url = settings.redis_url or (stores.child.url if stores.child else "")
    async with AsyncExitStack() as stack:
        listener = open_client(url, timeout=None)
        stack.push_async_callback(listener.aclose)
        bus = ShardedBus(listener, stores.keys) if stores.sharded else RedisBus(listener, stores.keys)
        passwords = Passwords()
        stack.callback(passwords.close)
        auth = Auth(
            database,
            bus,
            clock,
            settings.jwt_secret,
            settings.access_token_seconds,
            settings.refresh_grace_seconds,
            settings.session_days * 86_400,
            passwords,
        )
        pictures = Pictures()
        stack.callback(pictures.close)
        images = Images(database, stores.editor, stores.reader, stores.storage, pictures)
        stack.push_async_callback(images.close)
        await _running(stack, _prepare(stores.storage))
        polls = Polls(database, ledger, clock, stores.editor, stores.reader, images, settings.jwt_secret)
        votes = Votes(ledger, stores.reader)
        broadcast = Broadcast(
            ledger,
            stores.reader,
            bus,
            clock,
            parse_state,
            instance=new_id(),
            tick_seconds=settings.tick_ms / 1000,
            silence_seconds=settings.viewer_silence_seconds,
        )
        departures = Departures(clock)
        attending = Attending(auth, votes, broadcast, departures, clock)
        rooms = Rooms()
        attending.opened(rooms)
        auth.on_logout.append(departures.logged_out)
        bus.handle(CHANNEL, auth.on_revoked)
        bus.on_reconnect(auth.refresh_revoked)
        worker = stores.worker() if embedded_worker else None
        relay = stores.relay() if embedded_worker else None

        async def redis_answers() -> str:
            for server in await servers(stores.client):
                await server.ping()
            entries = await stores.votes.length(ledger.generations)
            return f"{ledger.batcher.waiting} ballots on their way, {entries} entries in the vote log"

        async def sql_answers() -> str:
            await database.partitions()
            return database.dialect

        async def kafka_lags() -> str:
            text = f"relay: {relay.error}; " if relay is not None and relay.error else ""
            with suppress(PollroomError):
                return text + await lag(database)
            return text + "SQL does not say how far it is"

        checks: dict[str, Check] = {"redis": redis_answers, "sql": sql_answers}
        if settings.kafka_brokers:
            checks["kafka"] = kafka_lags

        def notes() -> dict[str, str]:
            said = {"images": stores.storage.status}
            if worker is not None:
                said["worker"] = worker.error or f"{worker.pending} entries to store"
            return said

        readiness = Readiness(checks, lambda: bus.deaf, notes)
        readiness.acknowledged = await acknowledged(stores)
        _log.info("durability", acknowledged=readiness.acknowledged)

        await auth.refresh_revoked()
        await _running(stack, bus.run())
        await _running(stack, broadcast.run())
        await _running(stack, _every(REVOKED_SECONDS, auth.refresh_revoked))
        if worker is not None:
            await _running(stack, worker.run())
            await _running(stack, worker.sweep(ledger.read))
            await _running(stack, stores.unloader().run())
        if relay is not None:
            await _running(stack, relay.run())
        limits = Limits(settings.message_rate, settings.ping_interval)
        events = Events(attending, rooms, departures, clock)
        socket = endpoint(events, departures, clock, limits, settings.allowed_origins, settings.max_sockets)
        gateway = None
        if settings.socketio:
            from app.socketio import Gateway  # its extra may be missing

            found = Gateway(
                attending,
                departures,
                settings.allowed_origins,
                message_rate=settings.message_rate,
                ping_interval=settings.ping_interval,
                largest_number=settings.max_sockets,
            )
            stack.push_async_callback(found.close)
            gateway = found.app
        sources = Sources(departures, broadcast, ledger, readiness, stores.votes, worker)
        figures = Figures(sources).text
        services = Services(auth, polls, votes, images, readiness, figures, asyncapi(__version__))
        app = application(services, socket, settings.allowed_origins, gateway)
        yield Web(app, readiness, departures, stores, worker)


async def acknowledged(stores: Stores) -> str:
    """One sentence: what it means that a vote was acknowledged here."""
    redis_safe, redis_text = await durability(stores.client)
    sql_safe, sql_text = await stores.database.durability()
    worst = {True: "kept on disk", None: "of unknown durability", False: "NOT certainly kept"}
    verdict = worst[False if False in (redis_safe, sql_safe) else redis_safe and sql_safe]
    return f"An acknowledged vote is {verdict}: {redis_text}; {sql_text}."


async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except Exception as error:
            _log.warning("a recurring task failed", error=repr(error)[:200])
