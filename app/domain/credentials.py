"""What an account's e-mail, name and password must be."""

from typing import Final

from .errors import invalid
from .text import clean_text, has_invisible, refuse_unstorable

MAX_EMAIL: Final = 254
MAX_NAME: Final = 100
MIN_PASSWORD: Final = 8
MAX_PASSWORD: Final = 128


def clean_email(value: str) -> str:
    """The e-mail as stored and compared: in NFC and lower case, without outer white space."""
    email = clean_text("email", value, 3, MAX_EMAIL).lower()
    # Lower case can be longer: U+0130 becomes two code points.
    if len(email) > MAX_EMAIL:
        raise invalid("email", f"must have 3 to {MAX_EMAIL} characters")
    name, at, domain = email.partition("@")
    if not (name and at and domain) or "@" in domain:
        raise invalid("email", "must have one @ with something on both sides")
    if any(c.isspace() for c in email) or has_invisible(email):
        raise invalid("email", "must not contain white space or invisible characters")
    return email


def clean_name(value: str | None) -> str | None:
    return None if value is None else clean_text("name", value, 1, MAX_NAME)


def check_password(value: str) -> None:
    """Passwords are taken as they are, with outer white space. Lengths are in code points."""
    if not MIN_PASSWORD <= len(value) <= MAX_PASSWORD:
        raise invalid("password", f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    refuse_unstorable("password", value)
