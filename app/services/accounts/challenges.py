"""Challenges for guests: proof of work by the protocol of ALTCHA (https://altcha.org), version 1.

A challenge is signed and not stored. A solution is remembered until the challenge expires, so that it makes one guest. Version 1
hashes with SHA-256, which a page can do without HTTPS; the key derivation of version 2 needs the browser's Web Crypto, which
pages of a local network do not have.
"""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec
from altcha.v1 import ChallengeOptions, Payload, create_challenge, verify_solution

from ...domain.budgets import Rate
from ...domain.errors import invalid
from ...domain.users import Challenge
from ...utils.secret_keys import SecretKeys
from .budgets import Budgets

VALID_SECONDS: Final = 600
"""By the host's clock. Longer than anybody takes to type a name, short enough that solutions are not collected for long."""
MAX_SOLUTION: Final = 1000
"""Characters. A solution has about 400."""


class _Solution(msgspec.Struct):
    algorithm: Literal["SHA-256"]
    challenge: str
    number: int
    salt: str
    signature: str


class Challenges:
    """``cost``: the largest number that may be hidden; a client hashes half as often on average."""

    def __init__(self, keys: SecretKeys, budgets: Budgets, cost: int, *, for_every_guest: bool) -> None:
        self._keys = [key.hex() for key in keys.derived("challenges")]
        self._budgets = budgets
        self._cost = cost
        self.for_every_guest = for_every_guest

    def new(self) -> Challenge:
        expires = datetime.now(UTC) + timedelta(seconds=VALID_SECONDS)
        made = create_challenge(
            ChallengeOptions(
                algorithm="SHA-256", max_number=self._cost, hmac_key=self._keys[0], expires=expires
            )
        )
        return Challenge(made.algorithm, made.challenge, made.max_number, made.salt, made.signature)

    async def check(self, text: str) -> None:
        """Accept a solution once, on all instances. ``VALIDATION_FAILED`` if it is wrong, has expired or was used."""
        solution = _decode(text)
        payload = Payload(
            solution.algorithm, solution.challenge, solution.number, solution.salt, solution.signature
        )
        for key in self._keys:
            right, problem = verify_solution(payload, key)
            if problem is not None:
                raise invalid("solution", "has expired")
            if right:
                break
        else:
            raise invalid("solution", "does not solve a challenge of this server")
        # One call per challenge: the budget is empty until the challenge has expired.
        if not await self._budgets.spend(f"solution {solution.signature}", Rate(2 * VALID_SECONDS, 1)):
            raise invalid("solution", "was used before")


def _decode(text: str) -> _Solution:
    """From the Base64 of JSON that a widget of ALTCHA gives."""
    try:
        if len(text) > MAX_SOLUTION:
            raise ValueError
        return msgspec.json.decode(b64decode(text, validate=True), type=_Solution)
    except ValueError:  # as are the errors of Base64 and of msgspec
        raise invalid("solution", "must be the Base64 of a solution in JSON") from None
