"""Caddy in front of a server, as its documentation starts."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.servers.programs import caddy_program
from tools.servers.proxy import answering
from tools.servers.server import free_port


@contextmanager
def caddy(folder: Path, upstream: str) -> Iterator[str]:
    """The URL of ``upstream`` (``host:port``) at it, once it answers. Raises ``Missing``."""
    program = caddy_program()
    port = free_port()
    route = {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": upstream}]}]}
    server = {"listen": [f"127.0.0.1:{port}"], "routes": [route], "automatic_https": {"disable": True}}
    settings = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"one": server}}}}
    (folder / "caddy.json").write_text(json.dumps(settings))
    with (folder / "caddy.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "run", "--config", str(folder / "caddy.json")],
            env=os.environ | {"XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
    with answering(process, f"http://127.0.0.1:{port}") as url:
        yield url
