"""The table of all settings: default, allowed values, parser. ``.env.example`` says what each is for."""

from collections.abc import Mapping
from typing import Final

from ..services.accounts.access_tokens import ISSUER
from ..services.polls.signing import KEY_BYTES
from . import setting_parsers as parsers
from . import setting_urls as addresses

SETTINGS: Final[Mapping[str, parsers.Setting]] = {
    "HOST": parsers.Setting("127.0.0.1", "an address or host name to listen on", addresses.host),
    "PORT": parsers.whole(8000, 0, 65535),
    "PUBLIC_URL": parsers.Setting("", "http:// or https:// with a host, or empty", addresses.public_url),
    "DATA_DIR": parsers.Setting("./data", "a folder", parsers.folder),
    "DATABASE_URL": parsers.Setting(
        "",
        "mysql+aiomysql://user:password@host:port/database or sqlite+aiosqlite:///path, "
        "or empty for SQLite in DATA_DIR; options, of mysql alone: ssl=true (or false), with it ssl_ca=/file.pem "
        "(that can be read), unix_socket=/path",
        addresses.database_url,
    ),
    "REDIS_URL": parsers.Setting(
        "",
        "redis://, rediss:// or unix:// with a host or path, redis+cluster:// or rediss+cluster:// with hosts "
        "(commas between several), or empty for a private one in DATA_DIR; options: db=number where it is no cluster, "
        "for rediss ssl_ca_certs, ssl_certfile, with it ssl_keyfile=/file.pem (that can be read), "
        "ssl_check_hostname=true or false, ssl_cert_reqs=none, optional or required",
        addresses.redis_url,
    ),
    "JWT_SECRET": parsers.Setting("", f"{parsers.SECRET_BYTES} bytes or more", parsers.secret),
    "JWT_SECRET_OLD": parsers.Setting(
        "",
        f"secrets of {parsers.SECRET_BYTES} bytes or more, separated by white space, or empty",
        parsers.old_secrets,
    ),
    "SIGNING_NAME": parsers.Setting(
        "pollroom", "1 to 64 printable ASCII characters, without spaces and +", parsers.signing_name
    ),
    "SIGNING_KEY": parsers.Setting("", f"{KEY_BYTES} bytes in base64, or empty", parsers.signing_key),
    "AUTH_ISSUER": parsers.Setting(
        "", f"the `iss` of your own tokens, not {ISSUER}, or empty", parsers.issuer
    ),
    "AUTH_AUDIENCE": parsers.Setting("", "the `aud` of your own tokens, or empty", parsers.claim),
    "AUTH_JWKS_URL": parsers.Setting("", "http:// or https:// with a host, or empty", addresses.jwks_url),
    "AUTH_PUBLIC_KEY": parsers.Setting(
        "",
        "a public key in PEM or a file with one (RSA of 2048 bits, EC P-256 or Ed25519), or empty",
        parsers.public_key,
    ),
    "S3_ENDPOINT": parsers.Setting(
        "", "http:// or https:// with a host, or empty for DATA_DIR/images", addresses.s3_endpoint
    ),
    "S3_BUCKET": parsers.Setting("pollroom", "a bucket's name: 3 to 63 of a-z 0-9 . -", parsers.bucket),
    "S3_ACCESS_KEY": parsers.Setting("", "printable ASCII without spaces", parsers.key),
    "S3_SECRET_KEY": parsers.Setting("", "printable ASCII without spaces", parsers.key),
    "S3_PUBLIC_URL": parsers.Setting("", "http:// or https:// with a host, or empty", addresses.public_url),
    "KAFKA_BROKERS": parsers.Setting(
        "", "host:port, with commas between several, or empty", addresses.brokers
    ),
    "KAFKA_TOPIC": parsers.Setting(
        "pollroom.votes", "a topic's name: 1 to 249 of a-z A-Z 0-9 . _ -", parsers.topic
    ),
    "KAFKA_LAG_LIMIT": parsers.whole(1_000_000, 1, 1_000_000_000),
    "ALLOWED_ORIGINS": parsers.Setting(
        "", "scheme://host[:port], with commas between several, or empty", addresses.origins
    ),
    "ALLOWED_HOSTS": parsers.Setting(
        "",
        "host, host:port or .domain (with its subdomains), with commas between several, or empty",
        addresses.hosts,
    ),
    "REGISTRATION": parsers.Setting("open", "open or closed", parsers.registration),
    "MAX_POLLS_PER_USER": parsers.whole(100_000, 1, 1_000_000_000),
    "MAX_DECKS_PER_USER": parsers.whole(10_000, 1, 1_000_000_000),
    "MAX_IMAGE_BYTES_PER_USER": parsers.whole(1_000_000_000, 1, 9_999_999_999),
    "GUEST_CHALLENGE": parsers.Setting("polls", "polls or always", parsers.guest_challenge),
    "CHALLENGE_COST": parsers.whole(100_000, 1, 1_000_000_000),
    "TRUSTED_PROXIES": parsers.Setting(
        "", "IP addresses or networks, with commas between several, or empty", addresses.networks
    ),
    "REGISTER_RATE": parsers.rate("100/s:500"),
    "GUEST_RATE": parsers.rate("100/s:500"),
    "REFRESH_RATE": parsers.rate("100/s:500"),
    "LOGIN_RATE": parsers.rate("100/s:500"),
    "LOGIN_ACCOUNT_RATE": parsers.rate("10/m:10"),
    "CODE_MISS_RATE": parsers.rate("10/s:500"),
    "PROOF_RATE": parsers.rate("50/s:500"),
    "SOCKETIO": parsers.Setting(
        "off", "off, or on where python-socketio is installed (pip install .[socketio])", parsers.socketio
    ),
    "TICK_MS": parsers.whole(100, 10, 10_000),
    "MESSAGE_RATE": parsers.whole(50, 0, 1_000_000),
    "PARTITIONS": parsers.Setting("", "a whole number from 1 to 1024, or empty", parsers.partitions),
    "ACCESS_TOKEN_SECONDS": parsers.number(900, 0.1, 86_400),
    "REFRESH_GRACE_SECONDS": parsers.number(30, 0, 3600),
    "SESSION_DAYS": parsers.number(30, 0.00001, 3650),
    "RETENTION_DAYS": parsers.Setting(
        "", "a number from 0.00001 to 36500 (decimals allowed), or empty", parsers.days
    ),
    "PING_INTERVAL": parsers.number(20, 0.1, 3600),
    "VIEWER_SILENCE_SECONDS": parsers.number(15, 0.1, 3600),
    "UNLOAD_AFTER_SECONDS": parsers.number(3600, 0.1, 31_536_000),
    "DRAIN_SECONDS": parsers.number(10, 0, 3600),
    "HEAD_SECONDS": parsers.number(15, 0.1, 3600),
    "KEEP_ALIVE_SECONDS": parsers.number(75, 0.1, 3600),
    "DISCARD_SECONDS": parsers.number(30, 0.1, 3600),
    "MAX_SOCKETS": parsers.whole(20_000, 1, 1_000_000),
    "MAX_QUEUED_BALLOTS": parsers.whole(10_000, 1, 1_000_000),
    "LOG_LEVEL": parsers.Setting("info", "one of " + ", ".join(parsers.LEVELS), parsers.level),
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
