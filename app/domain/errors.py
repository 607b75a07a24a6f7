"""What can go wrong, told by a code and without a transport.

Every transport maps the code once: ``http/middleware.py`` to a status, ``websocket/events.py`` to an ERROR frame.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

T = TypeVar("T")

MESSAGES: Final[Mapping[str, str]] = {
    "BAD_MESSAGE": "Not a JSON object of the expected form.",
    "UNKNOWN_TYPE": "Unknown message type.",
    "VALIDATION_FAILED": "Some fields are missing, unknown or not valid.",
    "UNAUTHENTICATED": "A valid access token is needed.",
    "INVALID_CREDENTIALS": "E-mail or password is wrong.",
    "TOKEN_EXPIRED": "The access token has expired.",
    "FORBIDDEN": "Not allowed.",
    "CHALLENGE_REQUIRED": "A guest must solve a challenge first.",
    "NOT_FOUND": "There is no such thing here.",
    "METHOD_NOT_ALLOWED": "This address does not take that method.",
    "EMAIL_TAKEN": "An account with this e-mail exists.",
    "ALREADY_VOTED": "You have voted in this poll.",
    "BALLOT_ID_REUSED": "This ballot id was used for another ballot.",
    "CHANGE_NOT_ALLOWED": "This poll does not allow changing a vote.",
    "CHANGE_LIMIT": "This vote was changed too often.",
    "POLL_NOT_OPEN": "The poll is not open yet.",
    "POLL_CLOSED": "The poll is closed.",
    "POLL_PAUSED": "Voting is paused.",
    "NOTHING_TO_REVEAL": "No option of this poll is marked as correct.",
    "POLL_LOCKED": "Options, choice limits and the texts of a verifiable poll are fixed once somebody has voted.",
    "POLL_IN_DECK": "The poll is in another deck.",
    "DECK_MOVED": "The deck has changed since that version.",
    "DECK_ENDED": "The deck has ended.",
    "TOO_LARGE": "Too large.",
    "UNSUPPORTED_MEDIA": "This media type is not supported.",
    "INVALID_OPTION": "The poll has no such option.",
    "INVALID_CHOICE_COUNT": "Too few or too many options chosen.",
    "UPGRADE_REQUIRED": "This address speaks WebSocket.",
    "RATE_LIMITED": "Too many requests.",
    "INTERNAL": "Something went wrong here; it is not known whether the request took effect.",
    "UNAVAILABLE": "Not available right now; it is not known whether the request took effect.",
}


class PollroomError(Exception):
    """A refusal with one of the contract's codes.

    ``fields``: field name -> what is wrong with it (``VALIDATION_FAILED`` alone).
    ``retry_after``: seconds (``RATE_LIMITED`` and ``UNAVAILABLE`` alone).
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or MESSAGES[code])
        self.code = code
        self.message = message or MESSAGES[code]
        self.fields = fields
        self.retry_after = retry_after


def unavailable(retry_after: float = 1.0) -> PollroomError:
    """Not known whether it took effect: the caller sends the same again after ``retry_after`` seconds."""
    return PollroomError("UNAVAILABLE", retry_after=retry_after)


def invalid(field: str, message: str) -> PollroomError:
    return PollroomError("VALIDATION_FAILED", fields={field: message})


class none_found:
    """``with none_found():`` goes on after ``NOT_FOUND``."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, PollroomError) and error.code == "NOT_FOUND"


class Fields:
    """Collects what is wrong with each field, so that one answer names them all."""

    def __init__(self) -> None:
        self._wrong: dict[str, str] = {}

    def take(self, check: Callable[[], T], otherwise: T) -> T:
        """What ``check`` returns; ``otherwise`` if it raises ``VALIDATION_FAILED``, which is kept."""
        try:
            return check()
        except PollroomError as error:
            if error.code != "VALIDATION_FAILED":
                raise
            self._wrong = {**(error.fields or {}), **self._wrong}
            return otherwise

    def done(self) -> None:
        """Raise ``VALIDATION_FAILED`` with all of them, if any."""
        if self._wrong:
            raise PollroomError("VALIDATION_FAILED", fields=self._wrong)


class DuplicateKey(Exception):
    """A unique key of the database was taken. ``str()`` is the driver's text."""


class BadRow(Exception):
    """The database refused the data itself (too long, out of range): trying again gives the same."""
