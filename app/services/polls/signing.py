"""Signs the checkpoints of verifiable polls, as a C2SP signed note with Ed25519."""

import base64
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_BYTES: Final = 32
_ED25519: Final = b"\x01"


class NoteSigner:
    """``verifier_key`` is public: name, key ID and key, as the signed-note format has them."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        public = _ED25519 + self._key.public_key().public_bytes_raw()
        self._id = sha256(f"{name}\n".encode() + public).digest()[:4]
        self.verifier_key = f"{name}+{self._id.hex()}+{base64.b64encode(public).decode()}"

    def sign(self, text: str) -> str:
        """``text``, which ends with a line feed, with its signature. The same text always gets the same one."""
        signature = base64.b64encode(self._id + self._key.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.name} {signature}\n"
