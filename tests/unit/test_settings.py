import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.bootstrap.setting_table import SETTINGS
from app.bootstrap.settings import ConfigError, Settings

SECRET = "0123456789abcdef0123456789abcdef"
MYSQL = "mysql+aiomysql://user:hunter22@db.example:3306/pollroom"


def read(tmp_path: Path, **environ: str) -> Settings:
    return Settings.from_env({"DATA_DIR": str(tmp_path / "data"), **environ})


def test_defaults_are_the_embedded_ones(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.embedded_database
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/data/pollroom.db"
    assert settings.redis_url is None
    assert (settings.host, settings.port, settings.tick_ms, settings.partitions) == (
        "127.0.0.1",
        8000,
        100,
        None,
    )
    assert (settings.message_rate, settings.message_burst) == (50, 100)
    assert settings.allowed_origins == frozenset()


def test_data_dir_is_absolute_and_quoted_in_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"DATA_DIR": "./what? 50%"})
    assert settings.data_dir == tmp_path / "what? 50%"
    assert settings.database_url.endswith("/what%3F%2050%25/pollroom.db")


def test_empty_and_blank_are_unset(tmp_path: Path) -> None:
    assert read(tmp_path, PORT="", TICK_MS=" ", REDIS_URL="").port == 8000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "two words"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("PORT", "8_000"),
        ("PORT", "٨"),
        ("TICK_MS", "9"),
        ("TICK_MS", "10001"),
        ("TICK_MS", "100.5"),
        ("MESSAGE_RATE", "-1"),
        ("SIGNING_NAME", "two words"),
        ("SIGNING_NAME", "a+b"),
        ("SIGNING_NAME", "x" * 65),
        ("SIGNING_KEY", "AAAA"),
        ("SIGNING_KEY", "!" * 44),
        ("SIGNING_KEY", "AA" * 32),
        ("PROOF_RATE", "often"),
        ("PARTITIONS", "0"),
        ("PARTITIONS", "1025"),
        ("ACCESS_TOKEN_SECONDS", "0"),
        ("ACCESS_TOKEN_SECONDS", "nan"),
        ("ACCESS_TOKEN_SECONDS", "inf"),
        ("ACCESS_TOKEN_SECONDS", "1e3"),
        ("REFRESH_GRACE_SECONDS", "-1"),
        ("SESSION_DAYS", "0"),
        ("PING_INTERVAL", "soon"),
        ("DRAIN_SECONDS", "1" * 5000),
        ("MAX_SOCKETS", "0"),
        ("MAX_QUEUED_BALLOTS", "0"),
        ("LOG_LEVEL", "loud"),
        ("JWT_SECRET", SECRET[:-1]),
        ("DATABASE_URL", "postgresql://db.example/pollroom"),
        ("DATABASE_URL", "mysql://db.example"),
        ("DATABASE_URL", "mysql://db.example:port/pollroom"),
        ("DATABASE_URL", "mysql:///pollroom"),
        ("DATABASE_URL", "sqlite+aiosqlite://"),
        ("DATABASE_URL", "sqlite+aiosqlite:///:memory:"),
        ("REDIS_URL", "http://cache.example"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://cache.example:99999"),
        ("REDIS_URL", "redis://cache.example/first"),
        ("REDIS_URL", "unix://"),
        ("S3_ENDPOINT", "127.0.0.1:9000"),
        ("S3_ENDPOINT", "s3://bucket"),
        ("S3_ENDPOINT", "http://user:secret@s3.example"),
        ("S3_ENDPOINT", "http://s3.example/bucket"),
        ("S3_BUCKET", "Upper"),
        ("S3_BUCKET", "ab"),
        ("S3_BUCKET", "a/b"),
        ("S3_ACCESS_KEY", "two words"),
        ("S3_PUBLIC_URL", "/images"),
        ("S3_PUBLIC_URL", "https://images.example/?a=b"),
        ("SOCKETIO", "yes"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "example.org"),
        ("ALLOWED_ORIGINS", "https://example.org/"),
        ("ALLOWED_ORIGINS", "https://a.example, null"),
        ("DATABASE_URL", "mysql://db/polls?ssl=yes"),
        ("DATABASE_URL", "mysql://db/polls?ssl="),
        ("DATABASE_URL", "mysql://db/polls?ssl"),
        ("DATABASE_URL", "mysql://db/polls?SSL=true"),
        ("DATABASE_URL", "mysql://db/polls?ssl=true&ssl=false"),
        ("DATABASE_URL", "mysql://db/polls?ssl=true&ssl_ca=/no/such/file.pem"),
        ("DATABASE_URL", "mysql://db/polls?ssl=true&ssl_ca=ca.pem"),
        ("DATABASE_URL", f"mysql://db/polls?ssl_ca={__file__}"),
        ("DATABASE_URL", f"mysql://db/polls?ssl=false&ssl_ca={__file__}"),
        ("DATABASE_URL", "mysql://db/polls#?ssl=true"),
        ("DATABASE_URL", "mysql://db/polls?max_size=many"),
        ("DATABASE_URL", "sqlite+aiosqlite:////tmp/x.db?cache=shared"),
        ("REDIS_URL", "redis://cache?foo=1"),
        ("REDIS_URL", "redis://cache?db=first"),
        ("REDIS_URL", "redis://cache?socket_timeout=60"),
        ("REDIS_URL", f"redis://cache?ssl_ca_certs={__file__}"),
        ("REDIS_URL", "rediss://cache?ssl_ca_certs=/no/such/file.pem"),
        ("REDIS_URL", "rediss://cache?ssl_cert_reqs=perhaps"),
        ("REDIS_URL", "rediss://cache?ssl_check_hostname=no"),
        ("REDIS_URL", f"rediss://cache?ssl_keyfile={__file__}"),
        ("REDIS_URL", "unix:///run/redis.sock?ssl_cert_reqs=none"),
        ("REDIS_URL", "redis+cluster://a:1,b:2?db=1"),
    ],
)
def test_wrong_value_fails_with_name_and_what_is_allowed(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **{"JWT_SECRET": SECRET, name: value})
    assert caught.value.name == name
    assert str(caught.value) == f"{name} must be {SETTINGS[name].allowed}"


def test_data_dir_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="DATA_DIR must be a folder"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="DATA_DIR must be a folder that can be written"):
        read(tmp_path, DATA_DIR=str(tmp_path / "data" / "below"))


def test_good_values(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        PORT="0",
        PING_INTERVAL="0.25",
        MESSAGE_RATE="0",
        LOG_LEVEL="Warning",
        JWT_SECRET=SECRET,
        DATABASE_URL=MYSQL.replace("mysql+aiomysql", "mysql"),
        REDIS_URL="rediss://:pass@cache.example:6380/2",
        ALLOWED_ORIGINS="https://Polls.example, http://localhost:3000 ,http://[::1]:8080",
    )
    assert settings.port == 0
    assert settings.ping_interval == 0.25
    assert settings.message_burst == 0
    assert settings.log_level == "warning"
    assert settings.database_url == MYSQL
    assert not settings.embedded_database
    assert settings.allowed_origins == {"https://polls.example", "http://localhost:3000", "http://[::1]:8080"}
    assert read(tmp_path, REDIS_URL="unix:///run/redis.sock").redis_url == "unix:///run/redis.sock"


def test_good_options_of_urls(tmp_path: Path) -> None:
    for name, url in (
        ("DATABASE_URL", f"mysql+aiomysql://db/polls?ssl=true&ssl_ca={__file__}"),
        ("DATABASE_URL", "mysql+aiomysql://db/polls?ssl=False&unix_socket=/run/mysqld/mysqld.sock"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", f"rediss://cache/2?ssl_certfile={__file__}&ssl_keyfile={__file__}&ssl_cert_reqs=none"),
        ("REDIS_URL", "redis+cluster://one:7000,10.0.0.2,[::1]:7001"),
        ("REDIS_URL", f"rediss+cluster://a:1,b:2?ssl_ca_certs={__file__}&ssl_check_hostname=false"),
    ):
        found = read(tmp_path, **{"JWT_SECRET": SECRET, name: url})
        assert url == (found.database_url if name == "DATABASE_URL" else found.redis_url)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = read(
        tmp_path, DATABASE_URL=MYSQL, JWT_SECRET=SECRET, REDIS_URL="redis://:hunter22@cache.example"
    )
    assert SECRET not in repr(settings)
    assert "hunter22" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, REDIS_URL="redis://:hunter22@cache.example/x")
    assert "hunter22" not in str(caught.value)


def test_a_database_url_needs_a_secret(tmp_path: Path) -> None:
    for url in (MYSQL, "sqlite+aiosqlite:////var/lib/pollroom.db"):
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, DATABASE_URL=url)
        assert caught.value.name == "JWT_SECRET"
    assert not (tmp_path / "data").exists()


def test_s3_is_set_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = {"S3_ENDPOINT": "https://s3.example/", "S3_ACCESS_KEY": "us", "S3_SECRET_KEY": "hunter22"}
    settings = read(tmp_path, **whole, S3_PUBLIC_URL="https://images.example/pollroom/")
    assert (settings.s3_endpoint, settings.s3_bucket) == ("https://s3.example", "pollroom")
    assert settings.s3_public_url == "https://images.example/pollroom"
    assert "hunter22" not in repr(settings)
    assert read(tmp_path).s3_endpoint is None
    for name in whole:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, **{key: value for key, value in whole.items() if key != name})
        assert caught.value.name == name


def test_the_embedded_secret_is_made_once(tmp_path: Path) -> None:
    first = read(tmp_path).jwt_secret
    path = tmp_path / "data" / "jwt_secret"
    assert len(first.encode()) >= 32
    assert read(tmp_path).jwt_secret == first == path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "data") == ["jwt_secret"]
    path.write_text("short")
    with pytest.raises(ConfigError, match="DATA_DIR"):
        read(tmp_path)


def test_starts_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: read(tmp_path).jwt_secret, range(40)))
    assert len(secrets) == 1


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret in a file, 32 bytes or more\n")
    assert read(tmp_path, JWT_SECRET_FILE=str(file)).jwt_secret == "a secret in a file, 32 bytes or more"
    for environ in (
        {"JWT_SECRET_FILE": str(tmp_path / "missing")},
        {"JWT_SECRET_FILE": str(file), "JWT_SECRET": "another secret, 32 bytes or more"},
    ):
        with pytest.raises(ConfigError, match="JWT_SECRET_FILE must be"):
            read(tmp_path, **environ)
    file.write_text("short")
    with pytest.raises(ConfigError, match="JWT_SECRET must be"):
        read(tmp_path, JWT_SECRET_FILE=str(file))


def test_old_secrets_are_separated_by_white_space(tmp_path: Path) -> None:
    one, two = "o" * 32, "t" * 40
    assert read(tmp_path, JWT_SECRET_OLD=f" {one}\n {two} ").jwt_secret_old == (one, two)
    with pytest.raises(ConfigError):
        read(tmp_path, JWT_SECRET_OLD=f"{one} short")
