"""Which passwords an account may have. A log-in does not ask.

``common_passwords.txt`` holds those of 8 characters or more among the 20,000 most common passwords: Royce Williams' list as
Django 5.2 carries it (django/contrib/auth/common-passwords.txt.gz).
"""

from functools import cache
from pathlib import Path
from typing import Final

from ...domain.credentials import check_password
from ...domain.errors import invalid

SHORTEST_NAME: Final = 4
"""Characters of an e-mail's local part from which a password must not contain it."""


def check_new_password(password: str, email: str) -> None:
    """``VALIDATION_FAILED``. ``email`` as stored, empty if it is not valid itself."""
    check_password(password)
    if password.lower() in _common():
        raise invalid("password", "must not be one of the most common passwords")
    name = email.partition("@")[0].casefold()
    if len(name) >= SHORTEST_NAME and name in password.casefold():
        raise invalid("password", "must not contain the e-mail address before the @")


@cache
def _common() -> frozenset[str]:
    path = Path(__file__).with_name("common_passwords.txt")
    return frozenset(path.read_text(encoding="utf-8").split())
