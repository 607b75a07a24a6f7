"""The URL table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from .. import __version__
from ..services.accounts.accounts import Accounts
from ..services.accounts.challenges import Challenges
from ..services.accounts.sessions import Sessions
from ..services.health import Readiness
from ..services.polls.decks import Decks
from ..services.polls.option_images import OptionImages
from ..services.polls.polls import Polls
from ..services.polls.verifying import Verifying
from ..services.voting.export import AccountExport
from ..services.voting.votes import Votes
from .controllers.accounts import AccountController
from .controllers.auth import AuthController
from .controllers.decks import DeckController
from .controllers.docs import DocsController
from .controllers.images import ImageController
from .controllers.join import JoinController
from .controllers.ops import OpsController
from .controllers.polls import PollController
from .controllers.server import ServerController
from .controllers.streams import StreamController
from .controllers.verifying import VerifyingController
from .controllers.votes import VoteController
from .middleware import Bearer
from .openapi import openapi
from .resource import Resource
from .streams import Streams


@dataclass(frozen=True)
class Services:
    """What the controllers call. ``asyncapi``: the document of ``/ws``. ``figures``: as ``OpsController`` has it.

    ``public_url`` and ``host``: as ``ServerController`` has them.
    """

    auth: Sessions
    challenges: Challenges
    accounts: Accounts
    export: AccountExport
    polls: Polls
    decks: Decks
    votes: Votes
    verifying: Verifying
    images: OptionImages
    streams: Streams
    readiness: Readiness
    figures: Callable[[], Awaitable[bytes]]
    asyncapi: dict[str, Any]
    public_url: str | None
    host: str


def routes(
    services: Services, websocket: Callable[..., Any], gateway: ASGIApp | None = None
) -> list[BaseRoute]:
    """``websocket``: the endpoint of ``/ws``, a function of a ``WebSocket`` or an ASGI app.

    Routes are tried in order: votes come first.
    """
    bearer = Bearer(services.auth)
    auth = AuthController(services.auth, services.challenges, bearer)
    accounts = AccountController(services.accounts, services.export, bearer)
    polls = PollController(services.polls, bearer)
    decks = DeckController(services.decks, bearer)
    join = JoinController(services.votes, services.decks, bearer, services.public_url)
    votes = VoteController(services.votes, bearer)
    images = ImageController(services.images, bearer)
    verifying = VerifyingController(services.verifying, bearer)
    streams = StreamController(services.streams, bearer)
    ops = OpsController(services.readiness, services.figures)
    server = ServerController(bearer, services.public_url, services.host)
    docs = DocsController()
    table: list[BaseRoute] = [
        Route("/polls/{poll_id}/votes", Resource(POST=votes.cast)),
        WebSocketRoute("/ws", websocket),
        Route("/polls/{poll_id}/votes/mine", Resource(DELETE=votes.retract)),
        Route("/polls/{poll_id}", Resource(GET=votes.look, PATCH=polls.edit, DELETE=polls.delete)),
        Route("/polls/{poll_id}/stream", Resource(GET=streams.poll)),
        Route("/polls/{poll_id}/results", Resource(GET=votes.results)),
        Route("/polls/{poll_id}/results.csv", Resource(GET=votes.results_csv)),
        Route("/polls/{poll_id}/commitment", Resource(GET=verifying.commitment)),
        Route("/polls/{poll_id}/ballots.csv", Resource(GET=verifying.ballots)),
        Route("/polls/{poll_id}/proof", Resource(GET=verifying.proof)),
        Route("/polls/{poll_id}/open", Resource(POST=polls.open)),
        Route("/polls/{poll_id}/close", Resource(POST=polls.close)),
        Route("/polls/{poll_id}/pause", Resource(POST=polls.pause)),
        Route("/polls/{poll_id}/resume", Resource(POST=polls.resume)),
        Route("/polls/{poll_id}/reveal", Resource(POST=polls.reveal)),
        Route("/polls/{poll_id}/again", Resource(POST=polls.again)),
        Route("/polls/{poll_id}/options/{option_id}/image", Resource(PUT=images.put, DELETE=images.delete)),
        Route("/images/{name}", Resource(GET=images.show)),
        Route("/polls", Resource(GET=polls.mine, POST=polls.create)),
        Route("/decks", Resource(GET=decks.mine, POST=decks.create)),
        Route("/decks/{deck_id}", Resource(GET=decks.look, PATCH=decks.edit, DELETE=decks.delete)),
        Route("/decks/{deck_id}/stream", Resource(GET=streams.deck)),
        Route("/decks/{deck_id}/current", Resource(POST=decks.move)),
        Route("/decks/{deck_id}/end", Resource(POST=decks.end)),
        Route("/join/{code}", Resource(GET=join.join)),
        Route("/join/{code}/qr.svg", Resource(GET=join.qr)),
        Route("/auth/register", Resource(POST=auth.register)),
        Route("/auth/login", Resource(POST=auth.login)),
        Route("/auth/refresh", Resource(POST=auth.refresh)),
        Route("/auth/logout", Resource(POST=auth.logout)),
        Route("/auth/guest", Resource(POST=auth.guest)),
        Route("/auth/challenge", Resource(GET=auth.challenge)),
        Route("/auth/proof", Resource(POST=accounts.prove)),
        Route("/auth/password", Resource(POST=accounts.change_password)),
        Route("/auth/sessions", Resource(GET=accounts.sessions, DELETE=accounts.end_all_sessions)),
        Route("/auth/sessions/{session_id}", Resource(DELETE=accounts.end_session)),
        Route("/auth/me", Resource(GET=auth.me, DELETE=accounts.delete)),
        Route("/auth/me/delete", Resource(POST=accounts.delete)),
        Route("/auth/me/export", Resource(GET=accounts.export)),
        Route("/.well-known/pollroom-key", Resource(GET=verifying.key)),
        Route("/login", Resource(POST=auth.login)),
        Route("/logout", Resource(POST=auth.logout)),
        Route("/ws", Resource(GET=ops.upgrade_required)),
        Route("/server", Resource(GET=server.show)),
        Route("/healthz", Resource(GET=ops.healthz)),
        Route("/readyz", Resource(GET=ops.readyz)),
        Route("/metrics", Resource(GET=ops.metrics)),
        Route("/openapi.json", Resource(GET=docs.openapi)),
        Route("/asyncapi.json", Resource(GET=docs.asyncapi)),
        Route("/docs", Resource(GET=docs.docs)),
        *([] if gateway is None else [Mount("/socket.io", app=gateway)]),
    ]
    docs.describe(openapi(table, __version__), services.asyncapi)
    return table
