"""What each address and method of the URL table takes and answers: the part of the contract that no type tells."""

from http import HTTPStatus
from typing import Any, Final, Literal

from msgspec import Struct

from ..domain.ballots import VoteAccepted, VoteRetracted
from ..domain.decks import DeckEdit, Move, NewDeck
from ..domain.polls import NewPoll, NewRound, PollEdit
from ..domain.users import (
    Challenge,
    ChangePassword,
    DeleteAccount,
    Guest,
    Login,
    Refresh,
    Register,
    Session,
    SolvedChallenge,
)
from ..domain.vote_forms import VoteForm
from ..services.polls.verifying import CommitmentDocument, PollroomKey, Proof
from .controllers.accounts import SessionPage
from .controllers.auth import Me
from .controllers.decks import DeckAndPoll, DeckAsSeen, DeckPage, OneDeck
from .controllers.images import OneOption
from .controllers.ops import Health, Report
from .controllers.polls import OnePoll, PollAndTally, PollPage
from .controllers.server import ServerAddresses
from .controllers.votes import PollAsSeen, Results

Body = type | tuple[type, ...] | str | None
"""A struct, or one of several, else a media type, else nothing."""


class Call(Struct, frozen=True):
    """``answers``: status -> body. ``parameters`` beside those in the path. ``codes`` beside those that follow from the rest.

    ``served_alone``: needs neither Redis nor SQL.
    """

    does: str
    answers: dict[int, Body]
    token: Literal["needed", "optional", "none"] = "needed"
    takes: Body = None
    may_be_empty: bool = False
    parameters: tuple[dict[str, Any], ...] = ()
    codes: tuple[str, ...] = ()
    served_alone: bool = False


def _alone(does: str, answers: dict[int, Body], *codes: str) -> Call:
    return Call(does, answers, "none", codes=codes, served_alone=True)


def _key(text: str, pattern: str, most: int) -> tuple[dict[str, Any], ...]:
    schema = {"type": "string", "minLength": 1, "maxLength": most, "pattern": pattern}
    return ({"name": "Idempotency-Key", "in": "header", "description": text, "schema": schema},)


OK, CREATED, NO_CONTENT = HTTPStatus.OK.value, HTTPStatus.CREATED.value, HTTPStatus.NO_CONTENT.value

_BALLOT_KEY: Final = _key("The ballot's id.", "^[A-Za-z0-9_-]+$", 64)
_POLL_KEY: Final = _key("A retry with the same one answers the same poll, for a day.", "^[ -~]+$", 255)
_PAGE: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    {"name": "cursor", "in": "query", "description": "`nextCursor` of a page.", "schema": {"type": "string"}},
)
_OWNER: Final = ("FORBIDDEN", "NOT_FOUND")
_BALLOT: Final = (
    *_OWNER,
    "CHALLENGE_REQUIRED",
    "BALLOT_ID_REUSED",
    "POLL_NOT_OPEN",
    "POLL_CLOSED",
    "POLL_PAUSED",
    "CHANGE_NOT_ALLOWED",
    "CHANGE_LIMIT",
)
_LOGIN: Final = Call(
    "Log in.", {OK: Session}, "optional", Login, codes=("INVALID_CREDENTIALS", "RATE_LIMITED")
)
_DELETE_ACCOUNT: Final = Call(
    "Delete my account, its sessions and its polls; guests send no body.",
    {NO_CONTENT: None},
    takes=DeleteAccount,
    may_be_empty=True,
    codes=("INVALID_CREDENTIALS", "RATE_LIMITED"),
)
_LOGOUT: Final = Call("End the session: its tokens and its sockets, on every instance.", {NO_CONTENT: None})

CALLS: Final[dict[str, Call]] = {
    "POST /auth/register": Call(
        "Make an account.",
        {CREATED: Session},
        "optional",
        Register,
        codes=("EMAIL_TAKEN", "FORBIDDEN", "RATE_LIMITED"),
    ),
    "POST /auth/login": _LOGIN,
    "POST /auth/refresh": Call(
        "A new pair of tokens of the same session.",
        {OK: Session},
        "optional",
        Refresh,
        codes=("RATE_LIMITED",),
    ),
    "POST /auth/guest": Call(
        "A session of a guest, who may vote and not create polls.",
        {CREATED: Session},
        "optional",
        Guest,
        may_be_empty=True,
        codes=("CHALLENGE_REQUIRED", "RATE_LIMITED"),
    ),
    "GET /auth/challenge": Call("A challenge for a guest.", {OK: Challenge}, "optional"),
    "POST /auth/proof": Call(
        "A new pair of tokens for a guest who solved a challenge.",
        {OK: Session},
        takes=SolvedChallenge,
        codes=("FORBIDDEN",),
    ),
    "POST /auth/logout": _LOGOUT,
    "POST /auth/password": Call(
        "Change the password; all other sessions end.",
        {OK: Session},
        takes=ChangePassword,
        codes=("FORBIDDEN", "INVALID_CREDENTIALS", "RATE_LIMITED"),
    ),
    "GET /auth/sessions": Call(
        "My sessions, newest first.", {OK: SessionPage}, parameters=_PAGE, codes=("VALIDATION_FAILED",)
    ),
    "DELETE /auth/sessions": Call("End all my sessions, this one too.", {NO_CONTENT: None}),
    "DELETE /auth/sessions/{session_id}": Call(
        "End one of my sessions.", {NO_CONTENT: None}, codes=("NOT_FOUND",)
    ),
    "DELETE /auth/me": _DELETE_ACCOUNT,
    "POST /auth/me/delete": _DELETE_ACCOUNT,
    "GET /auth/me/export": Call("Everything stored about me.", {OK: "application/json"}),
    "GET /auth/me": Call("Who the token speaks for.", {OK: Me}),
    "POST /login": _LOGIN,
    "POST /logout": _LOGOUT,
    "POST /polls": Call(
        "Create a poll; 200 for a retry.",
        {CREATED: OnePoll, OK: OnePoll},
        takes=NewPoll,
        parameters=_POLL_KEY,
        codes=("FORBIDDEN",),
    ),
    "GET /polls": Call(
        "My polls, newest first.", {OK: PollPage}, parameters=_PAGE, codes=("VALIDATION_FAILED",)
    ),
    "GET /polls/{poll_id}": Call("A poll and its tally.", {OK: PollAsSeen}, "optional", codes=("NOT_FOUND",)),
    "GET /join/{code}": Call(
        "A poll or a deck and its current poll, by its join code.",
        {OK: (PollAsSeen, DeckAsSeen)},
        "optional",
        codes=("NOT_FOUND", "RATE_LIMITED"),
    ),
    "GET /join/{code}/qr.svg": Call(
        "A QR code of the address of a poll or deck.",
        {OK: "image/svg+xml"},
        "optional",
        codes=("NOT_FOUND", "RATE_LIMITED", "BAD_MESSAGE"),
    ),
    "POST /decks": Call(
        "Create a deck; 200 for a retry.",
        {CREATED: OneDeck, OK: OneDeck},
        takes=NewDeck,
        parameters=_POLL_KEY,
        codes=(*_OWNER, "POLL_IN_DECK"),
    ),
    "GET /decks": Call(
        "My decks, newest first.", {OK: DeckPage}, parameters=_PAGE, codes=("VALIDATION_FAILED",)
    ),
    "GET /decks/{deck_id}": Call("A deck.", {OK: OneDeck}, "optional", codes=("NOT_FOUND",)),
    "GET /decks/{deck_id}/stream": Call(
        "The messages of the deck's room as server-sent events.",
        {OK: "text/event-stream"},
        "optional",
        codes=("NOT_FOUND",),
    ),
    "PATCH /decks/{deck_id}": Call(
        "Edit a deck: its title, its polls and their order.",
        {OK: OneDeck},
        takes=DeckEdit,
        codes=(*_OWNER, "POLL_IN_DECK", "DECK_ENDED"),
    ),
    "DELETE /decks/{deck_id}": Call("Delete a deck; its polls stay.", {NO_CONTENT: None}, codes=_OWNER),
    "POST /decks/{deck_id}/current": Call(
        "Move to another poll: close the current one, open the new one.",
        {OK: DeckAndPoll},
        takes=Move,
        codes=(*_OWNER, "DECK_ENDED", "DECK_MOVED", "POLL_NOT_OPEN", "POLL_CLOSED"),
    ),
    "POST /decks/{deck_id}/end": Call(
        "End a deck: close its current poll, and move no more.", {OK: OneDeck}, codes=_OWNER
    ),
    "PATCH /polls/{poll_id}": Call(
        "Edit a poll.", {OK: OnePoll}, takes=PollEdit, codes=(*_OWNER, "POLL_LOCKED", "POLL_CLOSED")
    ),
    "DELETE /polls/{poll_id}": Call("Delete a poll.", {NO_CONTENT: None}, codes=_OWNER),
    "POST /polls/{poll_id}/open": Call("Open it now.", {OK: PollAndTally}, codes=(*_OWNER, "POLL_CLOSED")),
    "POST /polls/{poll_id}/close": Call(
        "Close it now, for good.", {OK: PollAndTally}, codes=(*_OWNER, "POLL_NOT_OPEN")
    ),
    "POST /polls/{poll_id}/pause": Call(
        "Accept no ballots for now.", {OK: PollAndTally}, codes=(*_OWNER, "POLL_NOT_OPEN", "POLL_CLOSED")
    ),
    "POST /polls/{poll_id}/resume": Call(
        "Accept ballots again.", {OK: PollAndTally}, codes=(*_OWNER, "POLL_NOT_OPEN", "POLL_CLOSED")
    ),
    "POST /polls/{poll_id}/reveal": Call(
        "Close it if it is open, and show everybody which options are correct.",
        {OK: PollAndTally},
        codes=(*_OWNER, "POLL_NOT_OPEN", "NOTHING_TO_REVEAL"),
    ),
    "POST /polls/{poll_id}/again": Call(
        "Create another round: a copy of the poll; 200 for a retry.",
        {CREATED: OnePoll, OK: OnePoll},
        takes=NewRound,
        may_be_empty=True,
        parameters=_POLL_KEY,
        codes=_OWNER,
    ),
    "POST /polls/{poll_id}/votes": Call(
        "Cast a ballot; 200 when repeated.",
        {CREATED: VoteAccepted, OK: VoteAccepted},
        takes=VoteForm,
        parameters=_BALLOT_KEY,
        codes=(*_BALLOT, "INVALID_OPTION", "INVALID_CHOICE_COUNT", "ALREADY_VOTED"),
    ),
    "DELETE /polls/{poll_id}/votes/mine": Call(
        "Take my ballot back.",
        {OK: VoteRetracted},
        parameters=_BALLOT_KEY,
        codes=(*_BALLOT, "VALIDATION_FAILED"),
    ),
    "GET /polls/{poll_id}/stream": Call(
        "The messages of the poll's room as server-sent events.",
        {OK: "text/event-stream"},
        "optional",
        codes=("NOT_FOUND",),
    ),
    "GET /polls/{poll_id}/results": Call(
        "Options and tally, without `counts` while they are hidden.",
        {OK: Results},
        "optional",
        codes=("NOT_FOUND",),
    ),
    "GET /polls/{poll_id}/results.csv": Call(
        "The counts as a table: `optionId,label,votes`.",
        {OK: "text/csv"},
        "optional",
        parameters=(
            {
                "name": "excel",
                "in": "query",
                "description": "`1`: with a byte order mark and CRLF, as Excel needs.",
                "schema": {"type": "string", "enum": ["1"]},
            },
        ),
        codes=_OWNER,
    ),
    "GET /polls/{poll_id}/commitment": Call(
        "What a closed verifiable poll commits to, signed.",
        {OK: CommitmentDocument},
        "optional",
        codes=("NOT_FOUND",),
    ),
    "GET /polls/{poll_id}/ballots.csv": Call(
        "The ballots of a closed verifiable poll without voters: `ballotId,optionIds`.",
        {OK: "text/csv"},
        "optional",
        codes=_OWNER,
    ),
    "GET /polls/{poll_id}/proof": Call(
        "The proof that a ballot is in the commitment of its poll.",
        {OK: Proof},
        "optional",
        parameters=(
            {
                "name": "leaf",
                "in": "query",
                "required": True,
                "description": "The leaf of the ballot, in hex.",
                "schema": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"},
            },
        ),
        codes=("NOT_FOUND", "VALIDATION_FAILED", "RATE_LIMITED"),
    ),
    "GET /.well-known/pollroom-key": Call(
        "The public keys that sign commitments.", {OK: PollroomKey}, "optional"
    ),
    "PUT /polls/{poll_id}/options/{option_id}/image": Call(
        "Give an option an image: PNG, JPEG, GIF or WebP, at most 5 MiB.",
        {OK: OneOption},
        takes="image/*",
        codes=(*_OWNER, "INVALID_OPTION", "TOO_LARGE", "UNSUPPORTED_MEDIA", "RATE_LIMITED", "BAD_MESSAGE"),
    ),
    "DELETE /polls/{poll_id}/options/{option_id}/image": Call(
        "Take the option's image away.", {NO_CONTENT: None}, codes=(*_OWNER, "INVALID_OPTION")
    ),
    "GET /images/{name}": Call(
        "An image that this server shows.", {OK: "image/webp"}, "none", codes=("NOT_FOUND",)
    ),
    "GET /server": Call(
        "Where this server is reached from other devices, for links and QR codes.",
        {OK: ServerAddresses},
        codes=("FORBIDDEN",),
        served_alone=True,
    ),
    "GET /ws": _alone(
        "The WebSocket of /asyncapi.json.", {HTTPStatus.SWITCHING_PROTOCOLS.value: None}, "UPGRADE_REQUIRED"
    ),
    "GET /healthz": _alone("The process lives.", {OK: Health}),
    "GET /readyz": _alone(
        "Whether it can do its work; 503 where not.",
        {OK: Report, HTTPStatus.SERVICE_UNAVAILABLE.value: Report},
    ),
    "GET /metrics": _alone("Figures for Prometheus.", {OK: "text/plain"}),
    "GET /openapi.json": _alone("The calls, as OpenAPI 3.1.", {OK: "application/json"}),
    "GET /asyncapi.json": _alone("The messages of the WebSocket, as AsyncAPI 3.0.", {OK: "application/json"}),
    "GET /docs": _alone("Calls and messages as a page.", {OK: "text/html"}),
}
