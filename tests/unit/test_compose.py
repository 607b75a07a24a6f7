"""``compose.yaml`` against what is tested: its versions are those of ``tools/servers/``, its settings are taken."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from app.bootstrap.settings import Settings
from tools import servers as services
from tools.harness.process import ROOT

TEXT = (ROOT / "compose.yaml").read_text()


def test_its_versions_are_those_that_are_tested() -> None:
    assert f"RUN CGO_ENABLED=0 go install {services.MINIO_MODULE}\n" in TEXT
    assert f"image: apache/kafka:{services.KAFKA_VERSION}\n" in TEXT


def test_the_settings_that_it_names_are_taken_and_lead_to_its_ports(tmp_path: Path) -> None:
    head = TEXT.partition("services:")[0]
    named = dict(re.findall(r"\b([A-Z0-9_]+)=(\S+)", head)) | {"JWT_SECRET": "x" * 32}
    settings = Settings.from_env(named | {"DATA_DIR": str(tmp_path)})
    urls = [settings.database_url, settings.redis_url, settings.s3_endpoint, settings.s3_public_url]
    places = [urlsplit(url or "").netloc.rpartition("@")[2] for url in urls] + list(settings.kafka_brokers)
    for place in places:
        assert f'"{place}:{place.rpartition(":")[2]}"' in TEXT, place
    assert settings.s3_public_url == f"{settings.s3_endpoint}/{settings.s3_bucket}"
    user = urlsplit(settings.database_url)
    database = (user.username, user.password, user.path[1:])
    assert database == tuple(_value(f"MARIADB_{name}") for name in ("USER", "PASSWORD", "DATABASE"))
    keys = (settings.s3_access_key, settings.s3_secret_key)
    assert keys == tuple(_value(f"MINIO_ROOT_{name}") for name in ("USER", "PASSWORD"))


def _value(name: str) -> str:
    (found,) = re.findall(rf"^ +{name}: (.*)$", TEXT, re.MULTILINE)
    return str(found)
