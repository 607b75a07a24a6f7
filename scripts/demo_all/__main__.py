"""Start everything, play the poll, stop everything.

MariaDB and Redis are its own, and so are MinIO and Kafka unless TEST_S3_URL and TEST_KAFKA_BROKERS name some.
"""

import argparse
import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import scripts.demo_all
from scripts.demo import command, running
from scripts.demo_all.play import play
from scripts.demo_all.poll import Site
from scripts.demo_all.voters import Failed
from tools.harness.process import environment
from tools.servers import (
    Missing,
    build_minio,
    fetch_kafka,
    fetch_socketio_client,
    kafka,
    kafka_program,
    mariadb,
    minio,
    minio_binary,
    redis_server,
    socketio_client,
)

FEWEST, MOST = 15, 3_000
LONGEST_SECONDS = 120.0


def had(find: Callable[[], str], get: Callable[[], bool]) -> str:
    """What ``find`` finds, got before where it is missing. Raises ``Missing``."""
    try:
        return find()
    except Missing:
        get()
        return find()


def say(what: str, where: str) -> None:
    print(f"{what:<12}{where}", flush=True)


def services(stack: ExitStack, folder: Path) -> dict[str, str]:
    """Started; the settings that name them. Raises ``Missing``."""
    s3, brokers = os.environ.get("TEST_S3_URL"), os.environ.get("TEST_KAFKA_BROKERS")
    if not s3:
        had(minio_binary, build_minio)
    if not brokers:
        had(kafka_program, fetch_kafka)
    database = stack.enter_context(mariadb(folder / "mariadb"))
    say("MariaDB", f"127.0.0.1:{database.port} (process {database.process.pid})")
    redis = stack.enter_context(redis_server(folder / "redis"))
    say("Redis", f"127.0.0.1:{redis.port} (process {redis.process.pid})")
    parts = urlsplit(s3 or stack.enter_context(minio(folder / "minio")).url)
    endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    bucket, topic = f"pollroom-demo-{secrets.token_hex(4)}", f"pollroom.votes-{secrets.token_hex(4)}"
    say("MinIO", f"{endpoint}, bucket {bucket}")
    brokers = brokers or stack.enter_context(kafka(folder / "kafka")).url
    say("Kafka", f"{brokers}, topic {topic}")
    return {
        "DATABASE_URL": database.url,
        "REDIS_URL": redis.url,
        "JWT_SECRET": secrets.token_urlsafe(32),
        "S3_ENDPOINT": endpoint,
        "S3_ACCESS_KEY": parts.username or "",
        "S3_SECRET_KEY": parts.password or "",
        "S3_BUCKET": bucket,
        "S3_PUBLIC_URL": f"{endpoint}/{bucket}",
        "KAFKA_BROKERS": brokers,
        "KAFKA_TOPIC": topic,
        "SOCKETIO": "on",
        "DATA_DIR": str(folder / "data"),
        "PORT": "0",
        "DRAIN_SECONDS": "1",
    }


def pollroom(stack: ExitStack, folder: Path, settings: dict[str, str]) -> tuple[str, ...]:
    """Migrated and started; the addresses of its two instances."""
    subprocess.run(command("migrate"), env=environment(settings), check=True)
    # A worker that has brokers relays, too: without them it is seen that the relay does.
    stored = settings | {"KAFKA_BROKERS": ""}
    stack.enter_context(running("worker", folder / "worker.log", stored, "The vote worker runs"))
    say("worker", "vote log in Redis -> MariaDB")
    stack.enter_context(running("relay", folder / "relay.log", settings, "The relay runs"))
    say("relay", "vote log in Redis -> Kafka, behind MariaDB")
    instances = []
    for n in (1, 2):
        log = folder / f"serve{n}.log"
        instances.append(stack.enter_context(running("serve", log, settings, "listens on ")))
        say(f"instance {n}", f"{instances[-1]}: HTTP, /ws and /socket.io")
    return tuple(instances)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo --all", description=scripts.demo_all.__doc__)
    parser.add_argument("--voters", type=int, default=300, help=f"{FEWEST} to {MOST}, a third of each kind")
    parser.add_argument(
        "--seconds", type=float, default=5, help=f"over which they vote, to {LONGEST_SECONDS:g}"
    )
    parser.add_argument(
        "--patience", type=float, default=60, help="seconds for MariaDB and Kafka to follow, to 600"
    )
    given = parser.parse_args(arguments)
    if not FEWEST <= given.voters <= MOST:
        parser.error(f"--voters must be from {FEWEST} to {MOST}")
    if not 0 <= given.seconds <= LONGEST_SECONDS:
        parser.error(f"--seconds must be from 0 to {LONGEST_SECONDS:g}")
    if not 0 <= given.patience <= 600:
        parser.error("--patience must be from 0 to 600")
    return given


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield str(error) or "it took too long"


def main(arguments: list[str]) -> int:
    given = options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    equal = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pollroom-demo-")))
        try:
            library = had(socketio_client, fetch_socketio_client)
            settings = services(stack, folder)
            instances = pollroom(stack, folder, settings)
            site = Site(instances, settings, library)
            equal = asyncio.run(play(site, given.voters, given.seconds, given.patience))
            recounted = subprocess.run(command("recount", "--all"), env=environment(settings))
            equal = equal and recounted.returncode == 0
        except* (Failed, TimeoutError) as group:
            print(*leaves(group), sep="\n")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a part running
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("all stopped")
    print(f"tally = acked = SQL = Kafka: {'equal' if equal else 'NOT EQUAL'}")
    return 0 if equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Missing as missing:
        sys.exit(str(missing))
