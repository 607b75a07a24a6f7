"""The consumer of docs/kafka.md against a server as it comes, what it tells of Kafka, and the commands around the relay."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap.settings import ConfigError, Settings
from tests.kafka.relayed import EXAMPLE
from tools.harness.http import Api, ok
from tools.harness.process import run, serving
from tools.harness.wait import eventually
from tools.servers import Kafka

pytestmark = pytest.mark.anyio


@pytest.fixture
def reader(kafka_brokers: str, topic: str, tmp_path: Path) -> Iterator[Path]:
    """What the consumer prints. It begins before there is a topic."""
    said = tmp_path / "said"
    with said.open("wb") as output, (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), kafka_brokers, topic], stdout=output, stderr=errors
        )
        yield said
        process.kill()
        process.wait()


async def test_the_example_ends_with_our_tally(
    kafka_brokers: str, topic: str, tmp_path: Path, reader: Path
) -> None:
    with serving(tmp_path / "server", {"KAFKA_BROKERS": kafka_brokers, "KAFKA_TOPIC": topic}) as server:
        async with Api(server) as api:
            owner = await api.user(name="Owner")
            poll = await api.poll(owner, allowChange=True, guests=True)
            guests = [await api.guest() for _ in range(6)]
            for n, guest in enumerate(guests):
                (await api.vote(guest, poll["id"], [poll["options"][n % 2]["id"]])).fresh()
            (await api.vote(guests[0], poll["id"], [poll["options"][1]["id"]])).fresh()
            (await api.retract(guests[1], poll["id"])).fresh()
            results = ok(await api.get(f"/polls/{poll['id']}/results", owner))
            tally = results.get("tally", results)
            expected = {
                "poll": poll["id"],
                "voters": 5,
                "counts": {option: n for option, n in tally["counts"].items() if n},
            }
            assert tally["voters"] == 5

            async def last() -> Any:
                lines = reader.read_text().splitlines()
                return json.loads(lines[-1]) if lines else None

            await eventually(last, lambda found: found == expected, 30, "our tally from Kafka")

            async def ready() -> Any:
                return server.readiness()[1]["checks"]["kafka"]

            detail = "0 entries behind SQL"
            await eventually(ready, lambda found: found == {"status": "ok", "detail": detail}, 10, "no lag")


async def test_readyz_and_metrics_tell_that_kafka_is_away(tmp_path: Path, broker: Kafka, topic: str) -> None:
    with serving(tmp_path / "server", {"KAFKA_BROKERS": broker.url, "KAFKA_TOPIC": topic}) as server:
        async with Api(server) as api:
            owner = await api.user()
            poll = await api.poll(owner)

            async def shown() -> tuple[str, str]:
                report = ok(await api.get("/readyz"))
                return report["status"], report["checks"]["kafka"]["status"]

            await eventually(shown, lambda found: found == ("ready", "ok"), 20)
            broker.kill()
            (await api.vote(owner, poll["id"], [poll["options"][0]["id"]])).fresh()
            await eventually(shown, lambda found: found == ("ready", "away"), 30)
            assert ok(await api.get("/readyz"))["checks"]["kafka"]["detail"].startswith("relay: Kafka")
            assert 'pollroom_check{check="kafka"} 0.0\n' in (await api.get("/metrics")).text
            await asyncio.to_thread(broker.start)
            await eventually(shown, lambda found: found == ("ready", "ok"), 60)
            assert 'pollroom_check{check="kafka"} 1.0\n' in (await api.get("/metrics")).text


def test_the_example_has_less_than_forty_lines_and_is_the_one_in_the_docs() -> None:
    text = EXAMPLE.read_text()
    assert len([line for line in text.splitlines() if line.strip()]) < 40
    assert "examples/kafka_tally.py" in (EXAMPLE.parents[1] / "kafka.md").read_text()


def test_a_relay_needs_brokers(tmp_path: Path) -> None:
    done = run(["relay"], {"DATA_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert "KAFKA_BROKERS must be set for a relay" in done.stdout


def test_removing_needs_tables(tmp_path: Path) -> None:
    done = run(["relay", "--remove"], {"DATA_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert "no tables" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BROKERS", "localhost"),
        ("KAFKA_BROKERS", "localhost:0"),
        ("KAFKA_BROKERS", "a:1,b:70000"),
        ("KAFKA_BROKERS", "kafka://a:9092"),
        ("KAFKA_TOPIC", "a b"),
        ("KAFKA_TOPIC", ".."),
        ("KAFKA_LAG_LIMIT", "0"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"DATA_DIR": str(tmp_path), name: value})
    assert caught.value.name == name


def test_brokers_are_a_list(tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIR": str(tmp_path), "KAFKA_BROKERS": "a:9092, [::1]:9093"})
    assert settings.kafka_brokers == ("a:9092", "[::1]:9093")
