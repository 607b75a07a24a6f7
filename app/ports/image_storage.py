"""Storage for option images."""

from typing import Protocol

from ..domain.errors import PollroomError


class NotKept(PollroomError):
    """``UNAVAILABLE``, and the call had no effect: the storage refused it, or was never asked."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", retry_after=2.0)


class Storage(Protocol):
    """Small public files that never change. A name is used once. Letters, digits, ``_`` and ``-``, then ``.webp``.

    Every call raises ``UNAVAILABLE`` after a bounded wait, and at once where too many wait.
    """

    async def put(self, name: str, data: bytes, content_type: str) -> None:
        """Store a file. It is complete and kept when this returns. Raises ``NotKept`` if it certainly was not stored."""

    async def get(self, name: str) -> bytes | None: ...

    async def delete(self, name: str) -> None:
        """Delete a file. A file that does not exist is no error."""

    def url(self, name: str) -> str:
        """Where clients read a file without a token: a URL, or a path on this server."""
