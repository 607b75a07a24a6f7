"""Every setting, read once from the environment. ``.env.example`` says what each is for."""

import base64
import importlib.util
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm

from ..domain.budgets import Rate, parse_rate
from ..services.accounts.access_tokens import ISSUER
from ..services.accounts.own_users import Key, key_of_pem
from ..services.polls.signing import KEY_BYTES
from ..utils.client_address import Network
from . import setting_urls as addresses

_LEVELS: Final = ("debug", "info", "warning", "error")
_SECRET_BYTES: Final = 32


class ConfigError(Exception):
    """A setting with a wrong value. ``str()`` names it and what is allowed, never the value: it may be a secret."""

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(f"{name} must be {allowed}")
        self.name = name
        self.allowed = allowed


@dataclass(frozen=True)
class Settings:
    """Durations in seconds unless the name says otherwise.

    ``redis_url``: none for a private child under ``data_dir``.
    ``partitions``: none for what the database has, 16 in a new one.
    ``s3_endpoint``: none for images in ``data_dir``. ``s3_public_url``: none where this server serves them.
    ``kafka_brokers``: empty where ballots are relayed to nobody. ``kafka_lag_limit``: in entries of the log.
    ``embedded_database``: no ``DATABASE_URL`` was given, ``database_url`` is a SQLite file under ``data_dir``.
    """

    host: str
    port: int
    public_url: str | None
    data_dir: Path
    database_url: str = field(repr=False)
    embedded_database: bool
    redis_url: str | None = field(repr=False)
    jwt_secret: str = field(repr=False)
    jwt_secret_old: tuple[str, ...] = field(repr=False)
    signing_name: str
    signing_key: bytes | None = field(repr=False)
    auth_issuer: str | None
    auth_audience: str | None
    auth_jwks_url: str | None
    auth_public_key: Key | None = field(repr=False)
    s3_endpoint: str | None
    s3_bucket: str
    s3_access_key: str | None
    s3_secret_key: str | None = field(repr=False)
    s3_public_url: str | None
    kafka_brokers: tuple[str, ...]
    kafka_topic: str
    kafka_lag_limit: int
    allowed_origins: frozenset[str]
    allowed_hosts: frozenset[str]
    registration: str
    max_polls_per_user: int
    max_decks_per_user: int
    max_image_bytes_per_user: int
    guest_challenge: bool
    challenge_cost: int
    trusted_proxies: tuple[Network, ...]
    register_rate: Rate
    guest_rate: Rate
    refresh_rate: Rate
    login_rate: Rate
    login_account_rate: Rate
    code_miss_rate: Rate
    proof_rate: Rate
    socketio: bool
    tick_ms: int
    message_rate: int
    partitions: int | None
    access_token_seconds: float
    refresh_grace_seconds: float
    session_days: float
    retention_days: float | None
    ping_interval: float
    viewer_silence_seconds: float
    unload_after_seconds: float
    drain_seconds: float
    head_seconds: float
    keep_alive_seconds: float
    discard_seconds: float
    max_sockets: int
    max_queued_ballots: int
    log_level: str

    @property
    def message_burst(self) -> int:
        """Messages that a socket may send at once; 0 for no limit."""
        return 2 * self.message_rate

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises ``ConfigError``. Creates the embedded default's ``DATA_DIR/jwt_secret`` where it is missing."""
        values = {name: _read(name, environ) for name in SETTINGS}
        folder: Path = values["DATA_DIR"]
        values["EMBEDDED_DATABASE"] = values["DATABASE_URL"] is None
        if values["EMBEDDED_DATABASE"]:
            values["DATABASE_URL"] = f"sqlite+aiosqlite:///{quote(str(folder / 'pollroom.db'))}"
            values["JWT_SECRET"] = values["JWT_SECRET"] or _kept_secret(folder)
        elif values["JWT_SECRET"] is None:
            raise ConfigError(
                "JWT_SECRET", f"set where DATABASE_URL is, and {SETTINGS['JWT_SECRET'].allowed}"
            )
        _check_issuer(values)
        for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY"):
            if values["S3_ENDPOINT"] and values[name] is None:
                raise ConfigError(name, "set where S3_ENDPOINT is")
        for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_PUBLIC_URL"):
            if values[name] is not None and not values["S3_ENDPOINT"]:
                raise ConfigError("S3_ENDPOINT", f"set where {name} is")
        return cls(**{name.lower(): value for name, value in values.items()})

    def require_pair(self) -> None:
        """``ConfigError`` if only one of the database and Redis is named. Call before the ledger is opened.

        A process that brings the other one by itself would find a ledger without votes, raise the generation in SQL, and so
        keep the votes of all other processes out of it.
        """
        if self.embedded_database and self.redis_url is not None:
            raise ConfigError("DATABASE_URL", "set where REDIS_URL is: both belong to one deployment")
        if not self.embedded_database and self.redis_url is None:
            raise ConfigError("REDIS_URL", "set where DATABASE_URL is: both belong to one deployment")


@dataclass(frozen=True)
class Setting:
    """``default`` is text as in the environment, empty for none. ``parse`` raises ``ValueError``."""

    default: str
    allowed: str
    parse: Callable[[str], Any]


def _read(name: str, environ: Mapping[str, str]) -> Any:
    setting = SETTINGS[name]
    text = environ.get(name, "").strip()
    if name in SECRETS and (file := environ.get(f"{name}_FILE", "").strip()):
        if text:
            raise ConfigError(f"{name}_FILE", f"empty where {name} is set")
        try:
            text = Path(file).read_text().strip()
        except (OSError, ValueError):
            raise ConfigError(f"{name}_FILE", "a file that can be read") from None
    try:
        return setting.parse(text or setting.default)
    except ValueError:
        raise ConfigError(name, setting.allowed) from None


def _whole(default: int, low: int, high: int) -> Setting:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Setting(str(default), f"a whole number from {low} to {high}", parse)


def _number(default: int, low: float, high: int) -> Setting:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return Setting(str(default), f"a number from {low:g} to {high} (decimals allowed)", parse)


def _rate(default: str) -> Setting:
    allowed = (
        "calls per second (bursts of 5 times as many), or calls/unit[:burst] with the unit s, m or h, "
        "as 100/s:500, or 0 for no limit"
    )
    return Setting(default, allowed, parse_rate)


def _partitions(text: str) -> int | None:
    return None if not text else int(_whole(16, 1, 1024).parse(text))


def _days(text: str) -> float | None:
    return None if not text else float(_number(1, 0.00001, 36_500).parse(text))


def _folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path


def _secret(text: str) -> str | None:
    if text and len(text.encode()) < _SECRET_BYTES:
        raise ValueError
    return text or None


def _old_secrets(text: str) -> tuple[str, ...]:
    secrets_ = tuple(text.split())
    if any(len(secret.encode()) < _SECRET_BYTES for secret in secrets_):
        raise ValueError
    return secrets_


def _signing_name(text: str) -> str:
    if not re.fullmatch(r"[!-*,-~]{1,64}", text):
        raise ValueError
    return text


def _signing_key(text: str) -> bytes | None:
    if not text:
        return None
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError
    return key


def _claim(text: str) -> str | None:
    if len(text) > 255 or not text.isprintable():
        raise ValueError
    return text or None


def _issuer(text: str) -> str | None:
    if text == ISSUER:
        raise ValueError
    return _claim(text)


def _public_key(text: str) -> Key | None:
    if not text:
        return None
    try:
        pem = text if text.startswith("-----BEGIN ") else Path(text).read_text()
        return key_of_pem(pem.replace("\\n", "\n"))
    except (OSError, UnsupportedAlgorithm) as error:
        raise ValueError from error


def _check_issuer(values: Mapping[str, Any]) -> None:
    keys = [name for name in ("AUTH_JWKS_URL", "AUTH_PUBLIC_KEY") if values[name]]
    if not keys and values["AUTH_ISSUER"] is None and values["AUTH_AUDIENCE"] is None:
        return
    for name in ("AUTH_ISSUER", "AUTH_AUDIENCE"):
        if values[name] is None:
            raise ConfigError(name, "set for users of your own: AUTH_ISSUER, AUTH_AUDIENCE and a key")
    if len(keys) != 1:
        raise ConfigError("AUTH_JWKS_URL", "set where AUTH_ISSUER is, or else AUTH_PUBLIC_KEY, not both")


def _bucket(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text) or ".." in text:
        raise ValueError
    return text


def _key(text: str) -> str | None:
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError
    return text or None


def _topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in (".", ".."):
        raise ValueError
    return text


def _socketio(text: str) -> bool:
    if text not in ("on", "off") or (text == "on" and importlib.util.find_spec("socketio") is None):
        raise ValueError
    return text == "on"


def _registration(text: str) -> str:
    if text not in ("open", "closed"):
        raise ValueError
    return text


def _guest_challenge(text: str) -> bool:
    if text not in ("polls", "always"):
        raise ValueError
    return text == "always"


def _level(text: str) -> str:
    if text.lower() not in _LEVELS:
        raise ValueError
    return text.lower()


def _kept_secret(folder: Path) -> str:
    """The secret in ``folder/jwt_secret``, made once: of two processes that start together both get the first one's."""
    path = folder / "jwt_secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = folder / f".jwt_secret-{secrets.token_hex(8)}"
            with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise ConfigError("DATA_DIR", f"a folder that can be written ({error.strerror})") from None
    if len(secret.encode()) < _SECRET_BYTES:
        raise ConfigError(
            "DATA_DIR", f"a folder whose jwt_secret has {_SECRET_BYTES} bytes or more; delete that file"
        )
    return secret


SETTINGS: Final[Mapping[str, Setting]] = {
    "HOST": Setting("127.0.0.1", "an address or host name to listen on", addresses.host),
    "PORT": _whole(8000, 0, 65535),
    "PUBLIC_URL": Setting("", "http:// or https:// with a host, or empty", addresses.public_url),
    "DATA_DIR": Setting("./data", "a folder", _folder),
    "DATABASE_URL": Setting(
        "",
        "mysql+aiomysql://user:password@host:port/database or sqlite+aiosqlite:///path, "
        "or empty for SQLite in DATA_DIR; options, of mysql alone: ssl=true (or false), with it ssl_ca=/file.pem "
        "(that can be read), unix_socket=/path",
        addresses.database_url,
    ),
    "REDIS_URL": Setting(
        "",
        "redis://, rediss:// or unix:// with a host or path, redis+cluster:// or rediss+cluster:// with hosts "
        "(commas between several), or empty for a private one in DATA_DIR; options: db=number where it is no cluster, "
        "for rediss ssl_ca_certs, ssl_certfile, with it ssl_keyfile=/file.pem (that can be read), "
        "ssl_check_hostname=true or false, ssl_cert_reqs=none, optional or required",
        addresses.redis_url,
    ),
    "JWT_SECRET": Setting("", f"{_SECRET_BYTES} bytes or more", _secret),
    "JWT_SECRET_OLD": Setting(
        "", f"secrets of {_SECRET_BYTES} bytes or more, separated by white space, or empty", _old_secrets
    ),
    "SIGNING_NAME": Setting(
        "pollroom", "1 to 64 printable ASCII characters, without spaces and +", _signing_name
    ),
    "SIGNING_KEY": Setting("", f"{KEY_BYTES} bytes in base64, or empty", _signing_key),
    "AUTH_ISSUER": Setting("", f"the `iss` of your own tokens, not {ISSUER}, or empty", _issuer),
    "AUTH_AUDIENCE": Setting("", "the `aud` of your own tokens, or empty", _claim),
    "AUTH_JWKS_URL": Setting("", "http:// or https:// with a host, or empty", addresses.jwks_url),
    "AUTH_PUBLIC_KEY": Setting(
        "",
        "a public key in PEM or a file with one (RSA of 2048 bits, EC P-256 or Ed25519), or empty",
        _public_key,
    ),
    "S3_ENDPOINT": Setting(
        "", "http:// or https:// with a host, or empty for DATA_DIR/images", addresses.s3_endpoint
    ),
    "S3_BUCKET": Setting("pollroom", "a bucket's name: 3 to 63 of a-z 0-9 . -", _bucket),
    "S3_ACCESS_KEY": Setting("", "printable ASCII without spaces", _key),
    "S3_SECRET_KEY": Setting("", "printable ASCII without spaces", _key),
    "S3_PUBLIC_URL": Setting("", "http:// or https:// with a host, or empty", addresses.public_url),
    "KAFKA_BROKERS": Setting("", "host:port, with commas between several, or empty", addresses.brokers),
    "KAFKA_TOPIC": Setting("pollroom.votes", "a topic's name: 1 to 249 of a-z A-Z 0-9 . _ -", _topic),
    "KAFKA_LAG_LIMIT": _whole(1_000_000, 1, 1_000_000_000),
    "ALLOWED_ORIGINS": Setting(
        "", "scheme://host[:port], with commas between several, or empty", addresses.origins
    ),
    "ALLOWED_HOSTS": Setting(
        "",
        "host, host:port or .domain (with its subdomains), with commas between several, or empty",
        addresses.hosts,
    ),
    "REGISTRATION": Setting("open", "open or closed", _registration),
    "MAX_POLLS_PER_USER": _whole(100_000, 1, 1_000_000_000),
    "MAX_DECKS_PER_USER": _whole(10_000, 1, 1_000_000_000),
    "MAX_IMAGE_BYTES_PER_USER": _whole(1_000_000_000, 1, 9_999_999_999),
    "GUEST_CHALLENGE": Setting("polls", "polls or always", _guest_challenge),
    "CHALLENGE_COST": _whole(100_000, 1, 1_000_000_000),
    "TRUSTED_PROXIES": Setting(
        "", "IP addresses or networks, with commas between several, or empty", addresses.networks
    ),
    "REGISTER_RATE": _rate("100/s:500"),
    "GUEST_RATE": _rate("100/s:500"),
    "REFRESH_RATE": _rate("100/s:500"),
    "LOGIN_RATE": _rate("100/s:500"),
    "LOGIN_ACCOUNT_RATE": _rate("10/m:10"),
    "CODE_MISS_RATE": _rate("10/s:500"),
    "PROOF_RATE": _rate("50/s:500"),
    "SOCKETIO": Setting(
        "off", "off, or on where python-socketio is installed (pip install .[socketio])", _socketio
    ),
    "TICK_MS": _whole(100, 10, 10_000),
    "MESSAGE_RATE": _whole(50, 0, 1_000_000),
    "PARTITIONS": Setting("", "a whole number from 1 to 1024, or empty", _partitions),
    "ACCESS_TOKEN_SECONDS": _number(900, 0.1, 86_400),
    "REFRESH_GRACE_SECONDS": _number(30, 0, 3600),
    "SESSION_DAYS": _number(30, 0.00001, 3650),
    "RETENTION_DAYS": Setting("", "a number from 0.00001 to 36500 (decimals allowed), or empty", _days),
    "PING_INTERVAL": _number(20, 0.1, 3600),
    "VIEWER_SILENCE_SECONDS": _number(15, 0.1, 3600),
    "UNLOAD_AFTER_SECONDS": _number(3600, 0.1, 31_536_000),
    "DRAIN_SECONDS": _number(10, 0, 3600),
    "HEAD_SECONDS": _number(15, 0.1, 3600),
    "KEEP_ALIVE_SECONDS": _number(75, 0.1, 3600),
    "DISCARD_SECONDS": _number(30, 0.1, 3600),
    "MAX_SOCKETS": _whole(20_000, 1, 1_000_000),
    "MAX_QUEUED_BALLOTS": _whole(10_000, 1, 1_000_000),
    "LOG_LEVEL": Setting("info", "one of " + ", ".join(_LEVELS), _level),
}

SECRETS: Final = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "JWT_SECRET",
        "JWT_SECRET_OLD",
        "SIGNING_KEY",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    }
)
"""Settings that may be read from a file, which ``NAME_FILE`` names, as secrets of containers are."""
