"""The composition root: the services and transports of a web process on opened stores. Nothing else wires; tests use it, too."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from .. import __version__
from ..adapters.image_processes import ImageProcesses
from ..adapters.image_storage import LocalStorage, S3Storage
from ..adapters.jwks import fetch_jwks
from ..adapters.redis.budgets import RedisBudgets
from ..adapters.redis.connection.cluster import open_client
from ..adapters.redis.pubsub.bus import RedisBus, RedisFeeds
from ..adapters.redis.pubsub.sharded_bus import ShardedBus
from ..domain.budgets import BudgetName, Rate
from ..domain.cursors import Cursors
from ..domain.errors import PollroomError
from ..domain.values import new_id
from ..http.application import Services, application
from ..http.streams import Streams
from ..repositories import audit
from ..repositories.settings import kept, replaced
from ..services.accounts.access_tokens import AccessTokens
from ..services.accounts.accounts import Accounts
from ..services.accounts.audit import AuditQueue
from ..services.accounts.budgets import Budgets
from ..services.accounts.challenges import Challenges
from ..services.accounts.own_users import OwnUsers
from ..services.accounts.password_hashing import PasswordHashing
from ..services.accounts.sessions import CHANNEL, Sessions
from ..services.health import Readiness
from ..services.polls.deck_hints import DeckHints
from ..services.polls.deck_moves import DeckMoves
from ..services.polls.decks import Decks
from ..services.polls.polls import Polls
from ..services.polls.verifying import Verifying
from ..services.rooms.broadcaster import Broadcaster
from ..services.rooms.connections import ConnectionRegistry
from ..services.rooms.deck_feeds import DeckFeeds
from ..services.rooms.dispatcher import Dispatcher
from ..services.rooms.participants import Participants
from ..services.rooms.presence import Timing
from ..services.voting.export import AccountExport
from ..services.voting.votes import Votes
from ..utils import logger
from ..utils.client_address import TrustedProxies
from ..utils.recurring import every
from ..utils.secret_keys import SecretKeys
from ..web.pages import Pages
from ..websocket.asyncapi import asyncapi
from ..websocket.endpoint import endpoint
from ..websocket.events import Events
from ..websocket.rooms import WebSocketRooms
from ..websocket.socket import Limits
from ..workers.vote_worker import VoteWorker
from .checks import acknowledged, checks, probes
from .metrics import Figures, Sources
from .resources import Resources, worker_tasks

REVOKED_SECONDS = 5.0
MOVES_SECONDS = 2.0
HINTS_SECONDS = 2.0

_log = logger.get(__name__)


@dataclass
class Web:
    """A web process, ready to be served."""

    app: ASGIApp
    readiness: Readiness
    registry: ConnectionRegistry
    stores: Resources
    worker: VoteWorker | None
    figures: Figures


@asynccontextmanager
async def open_web(stores: Resources, *, embedded_worker: bool) -> AsyncIterator[Web]:
    """The services and transports of a web process, running."""
    settings, database, ledger, clock = stores.settings, stores.database, stores.ledger, stores.clock
    supervisor = stores.supervisor
    url = settings.redis_url or (stores.child.url if stores.child else "")
    async with AsyncExitStack() as stack:
        listener = open_client(url, timeout=None)
        stack.push_async_callback(listener.aclose)
        bus = ShardedBus(listener, stores.keys) if stores.sharded else RedisBus(listener, stores.keys)
        passwords = PasswordHashing()
        stack.callback(passwords.close)
        rates: dict[BudgetName, Rate] = {
            "register": settings.register_rate,
            "guest": settings.guest_rate,
            "refresh": settings.refresh_rate,
            "login": settings.login_rate,
            "login_account": settings.login_account_rate,
            "code_miss": settings.code_miss_rate,
            "proof": settings.proof_rate,
        }
        keys = SecretKeys(settings.jwt_secret, settings.jwt_secret_old)
        cursors = Cursors(keys.derived("cursors"), keys.secrets)
        shared_budgets = RedisBudgets(stores.client, stores.keys)
        budgets = Budgets(shared_budgets, rates, keys.derived("budgets")[0])
        challenges = Challenges(
            keys, budgets, settings.challenge_cost, for_every_guest=settings.guest_challenge
        )
        audit_queue = AuditQueue(database)
        stack.push_async_callback(audit_queue.flush)
        await _note_key(stores, keys)
        own_users = await _own_users(stores)
        if own_users is not None:
            stack.callback(own_users.close)
        auth = Sessions(
            database,
            bus,
            clock,
            keys,
            settings.access_token_seconds,
            settings.refresh_grace_seconds,
            settings.session_days * 86_400,
            passwords,
            budgets,
            challenges,
            own_users,
            audit_queue,
            settings.registration == "open",
        )
        processes = ImageProcesses()
        stack.push_async_callback(processes.close)
        images = stores.option_images(processes)
        stack.push_async_callback(images.close)
        preparing = asyncio.create_task(_prepare(stores.storage))
        stack.callback(preparing.cancel)
        hints = DeckHints(bus, stores.reader)
        moves = DeckMoves(database, ledger, clock, stores.editor, stores.reader, hints)
        polls = Polls(
            database,
            ledger,
            clock,
            stores.editor,
            stores.reader,
            images,
            cursors,
            moves,
            settings.max_polls_per_user,
        )
        decks = Decks(database, ledger, clock, stores.reader, moves, cursors, settings.max_decks_per_user)
        accounts = Accounts(database, clock, auth, passwords, challenges, cursors)
        votes = Votes(ledger, stores.reader, budgets)
        feeds = RedisFeeds(bus, stores.keys)
        timing = Timing(new_id(), settings.tick_ms / 1000, settings.viewer_silence_seconds)
        broadcaster = Broadcaster(ledger, stores.reader, feeds, clock, timing)
        deck_feeds = DeckFeeds(moves, broadcaster, ledger, feeds, clock, timing)
        registry = ConnectionRegistry(clock)
        participants = Participants(auth, votes, broadcaster, deck_feeds, registry, clock)
        rooms = WebSocketRooms()
        participants.opened(rooms)
        auth.on_logout.append(registry.end_session)
        bus.handle(CHANNEL, auth.on_revoked)
        bus.on_reconnect(auth.refresh_revoked)
        worker = stores.worker() if embedded_worker else None
        relay = stores.relay() if embedded_worker else None

        readiness = Readiness(
            *checks(stores, worker, relay), probes(stores, url), lambda: bus.deaf, supervisor.failing
        )
        readiness.acknowledged = await acknowledged(stores)
        _log.info("durability", acknowledged=readiness.acknowledged)

        await auth.refresh_revoked()
        running = {
            "pubsub": bus.run,
            "probes": readiness.watch,
            "feeds": broadcaster.run,
            "decks": deck_feeds.run,
        }
        for name, work in running.items():
            await stack.enter_async_context(supervisor.running(name, work))
        stack.push_async_callback(broadcaster.close)
        stack.push_async_callback(deck_feeds.close)
        tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "sessions": partial(every, REVOKED_SECONDS, auth.refresh_revoked),
            "ledger": stores.ledger_watch.run,
            "audit": audit_queue.run,
            "moves": partial(every, MOVES_SECONDS, moves.finish_old),
            "deck hints": partial(every, HINTS_SECONDS, hints.heal),
        }
        if worker is not None:
            tasks |= worker_tasks(stores, worker, relay)
        for name, task in tasks.items():
            await stack.enter_async_context(supervisor.running(name, task))
        limits = Limits(settings.message_rate, settings.ping_interval)
        dispatcher = Dispatcher(participants, votes, registry, clock)
        events = Events(dispatcher)
        socket = endpoint(
            events, rooms, registry, clock, limits, settings.allowed_origins, settings.max_sockets
        )
        gateway = None
        if settings.socketio:
            from ..socketio.endpoint import Gateway  # its extra may be missing

            found = Gateway(
                dispatcher,
                participants,
                registry,
                settings.allowed_origins,
                message_rate=settings.message_rate,
                ping_interval=settings.ping_interval,
                max_sockets=settings.max_sockets,
            )
            stack.push_async_callback(found.close)
            gateway = found.app
        sources = Sources(
            registry, broadcaster, ledger, readiness, stores.votes, worker, auth, budgets, passwords
        )
        figures = Figures(sources)
        streams = Streams(
            participants, registry, ping_interval=settings.ping_interval, max_sockets=settings.max_sockets
        )
        services = Services(
            auth,
            challenges,
            accounts,
            AccountExport(database, accounts, polls, decks),
            polls,
            decks,
            votes,
            Verifying(database, ledger, stores.signer, budgets),
            images,
            streams,
            readiness,
            figures.text,
            asyncapi(__version__),
            settings.public_url,
            settings.host,
        )
        pages = Pages(settings.s3_public_url).routes()
        app = application(
            services,
            socket,
            settings.allowed_origins,
            gateway,
            pages=pages,
            proxies=TrustedProxies(settings.trusted_proxies),
            prepare=auth.prepare if settings.auth_jwks_url else None,
        )
        yield Web(app, readiness, registry, stores, worker, figures)


async def _note_key(stores: Resources, keys: SecretKeys) -> None:
    """A key that signs since this start goes into the audit log."""
    key_id = AccessTokens(keys).key_id
    if await replaced(stores.database, "signing_key", key_id):
        await audit.add(stores.database, [audit.Entry(stores.clock.now(), "key_changed", None, key_id)])


async def _own_users(stores: Resources) -> OwnUsers | None:
    settings = stores.settings
    if settings.auth_issuer is None or settings.auth_audience is None:
        return None
    secret = await kept(stores.database, "own_users", lambda: secrets.token_hex(32))
    url, key = settings.auth_jwks_url, settings.auth_public_key
    return OwnUsers(
        settings.auth_issuer,
        settings.auth_audience,
        {None: key} if key else {},
        partial(fetch_jwks, url) if url else None,
        bytes.fromhex(secret),
        stores.clock.now,
    )


async def _prepare(storage: LocalStorage | S3Storage) -> None:
    """Runs in the background: votes do not wait for image storage."""
    try:
        await storage.prepare()
    except PollroomError:
        pass  # logged by the storage, which tries again with the first image
    except Exception:
        _log.exception("image storage not prepared")
