"""Every setting, read once from the environment. ``.env.example`` says what each is for."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..domain.budgets import Rate
from ..services.accounts.own_users import Key
from ..utils.client_address import Network
from .setting_parsers import SECRET_BYTES
from .setting_table import SECRETS, SETTINGS


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


def _check_issuer(values: Mapping[str, Any]) -> None:
    keys = [name for name in ("AUTH_JWKS_URL", "AUTH_PUBLIC_KEY") if values[name]]
    if not keys and values["AUTH_ISSUER"] is None and values["AUTH_AUDIENCE"] is None:
        return
    for name in ("AUTH_ISSUER", "AUTH_AUDIENCE"):
        if values[name] is None:
            raise ConfigError(name, "set for users of your own: AUTH_ISSUER, AUTH_AUDIENCE and a key")
    if len(keys) != 1:
        raise ConfigError("AUTH_JWKS_URL", "set where AUTH_ISSUER is, or else AUTH_PUBLIC_KEY, not both")


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
    if len(secret.encode()) < SECRET_BYTES:
        raise ConfigError(
            "DATA_DIR", f"a folder whose jwt_secret has {SECRET_BYTES} bytes or more; delete that file"
        )
    return secret
