"""What an account's e-mail, name and password must be."""

import unicodedata
from typing import Final

from .errors import invalid
from .values import clean_text

MAX_EMAIL: Final = 254
MAX_NAME: Final = 100
MIN_PASSWORD: Final = 8
MAX_PASSWORD: Final = 128


def clean_email(value: str) -> str:
    """The e-mail as stored and compared: stripped, in lower case."""
    email = clean_text("email", value, 3, MAX_EMAIL).lower()
    # Lower case can be longer: U+0130 becomes two code points.
    if len(email) > MAX_EMAIL:
        raise invalid("email", f"must have 3 to {MAX_EMAIL} characters")
    name, at, domain = email.partition("@")
    if not (name and at and domain) or "@" in domain:
        raise invalid("email", "must have one @ with something on both sides")
    if any(c.isspace() or unicodedata.category(c) == "Cc" for c in email):
        raise invalid("email", "must not contain white space or control characters")
    return email


def clean_name(value: str | None) -> str | None:
    return None if value is None else clean_text("name", value, 1, MAX_NAME)


def check_password(value: str) -> None:
    """Passwords are taken as they are, outer white space too; lengths in code points."""
    if not MIN_PASSWORD <= len(value) <= MAX_PASSWORD:
        raise invalid("password", f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise invalid("password", "must not contain NUL or lone surrogates")
