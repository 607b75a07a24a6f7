"""Refusals of foreign origins, for the page and for the operator: the same for WebSocket and Socket.IO."""

import time
from typing import Any, Final

from ...utils import logger

LOG_SECONDS: Final = 60.0
"""At most one log line per process in this time."""

_log = logger.get(__name__)


class OriginRefusals:
    def __init__(self) -> None:
        self._logged = -LOG_SECONDS

    def document(self, origin: str) -> dict[str, Any]:
        """The problem document of a 403; logged once per ``LOG_SECONDS``."""
        now = time.monotonic()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            _log.warning("origin refused", origin=origin[:200], setting="ALLOWED_ORIGINS")
        return {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": "Pages of this origin may not connect. The server's ALLOWED_ORIGINS lists the origins that may.",
            "code": "FORBIDDEN",
        }
