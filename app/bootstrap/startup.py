"""A start that must wait, or cannot go on: which setting leads to what does not answer, and what it said."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ..adapters.redis.connection.client import FAILED, REFUSED, SILENT, hopeless
from ..adapters.redis.connection.rights import MissingRights
from ..adapters.sql.driver import Denied, describe
from ..domain.errors import PollroomError
from ..services.recovery.ownership import LedgerMismatch
from ..utils import logger

START_SECONDS, AGAIN_SECONDS = 30.0, 0.2

# Not their subclasses that say how a handshake was cut short: a server that stops does so, too.
_TLS: Final = (ssl.SSLError, ssl.SSLCertVerificationError)

_log = logger.get(__name__)


class StartError(Exception):
    """``str()`` names the setting that is to be looked at and says why, never its value: it may hold a secret."""


@contextmanager
def naming(setting: str, what: str) -> Iterator[None]:
    """What does not let us in, or does not answer, becomes a ``StartError`` that names ``setting``."""
    try:
        yield
    except Denied as error:
        raise StartError(f"{setting}: {error}") from error
    except LedgerMismatch as error:
        raise StartError(f"{setting}: {error}") from error
    except MissingRights as error:
        raise StartError(f"{setting}: {error}; docs/reliability.md lists the rights that it needs") from error
    except (PollroomError, *FAILED) as error:
        silent = isinstance(error, (PollroomError, *SILENT)) and not _in_vain(error)
        raise StartError(
            f"{setting}: {what} {'does not answer' if silent else 'cannot be used'} ({_cause(error)})"
        ) from error


async def awaited(what: str, ask: Callable[[], Awaitable[None]]) -> None:
    """Ask again while it does not answer, which is logged once; its error after ``START_SECONDS``, at once where it is
    in vain."""
    until, logged = time.monotonic() + START_SECONDS, False
    while True:
        try:
            return await ask()
        except (PollroomError, *SILENT, *REFUSED) as error:
            if _in_vain(error) or time.monotonic() > until:
                raise
            if not logged:
                _log.warning(f"waiting for {what}", error=_cause(error), seconds=START_SECONDS)
                logged = True
        await asyncio.sleep(AGAIN_SECONDS)


def _in_vain(error: BaseException | None) -> bool:
    """A setting is wrong: what Redis calls so, a certificate that is not trusted, a server without TLS."""
    while error is not None:
        if hopeless(error) or type(error) in _TLS or isinstance(error, LedgerMismatch):
            return True
        error = error.__cause__ or error.__context__  # redis-py names no cause
    return False


def _cause(error: BaseException) -> str:
    """``UNAVAILABLE`` itself says what a client is to know; the reason is behind it."""
    while isinstance(error, PollroomError) and error.__cause__ is not None:
        error = error.__cause__
    return describe(error)
