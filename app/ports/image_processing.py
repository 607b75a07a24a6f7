"""Scaling uploaded images down."""

from typing import Protocol


class ImageProcessor(Protocol):
    async def shrink(self, data: bytes) -> tuple[bytes, bytes]:
        """WebP of at most 1024 and of at most 256 pixels per side: the first frame, upright, without metadata.

        ``TOO_LARGE`` for too many pixels, ``UNSUPPORTED_MEDIA`` for what cannot be decoded, ``UNAVAILABLE`` where no
        decoder is free in time.
        """
