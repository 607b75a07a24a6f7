"""Keys for different purposes from one secret, by HKDF (RFC 5869)."""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_BYTES: Final = 32


class SecretKeys:
    """``current`` signs, ``old`` ones are still accepted."""

    def __init__(self, current: str, old: tuple[str, ...] = ()) -> None:
        self.secrets = tuple(secret.encode() for secret in (current, *old))

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """One key per secret; the first is the current one."""
        info = f"pollroom: {purpose}, 1".encode()
        return tuple(HKDF(SHA256(), _BYTES, None, info).derive(secret) for secret in self.secrets)
