"""nginx in front of a server, configured as most are."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.servers.programs import nginx_program
from tools.servers.proxy import answering
from tools.servers.server import free_port


@contextmanager
def nginx(folder: Path, upstream: str, path: str = "") -> Iterator[str]:
    """The URL of ``upstream`` (``host:port``) at it, once it answers. ``path``: a sub-path, as ``/rooms``. Raises ``Missing``."""
    program = nginx_program()
    port = free_port()
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{name}_temp_path {folder}/{name};" for name in names)
    (folder / "nginx.conf").write_text(
        f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_max_body_size 100m;
    map $http_upgrade $upgrading {{ default upgrade; "" close; }}
    {temporary}
    server {{
        listen 127.0.0.1:{port};
        location {path}/ {{
            proxy_pass http://{upstream}/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrading;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
    )
    process = subprocess.Popen([program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    with answering(process, f"http://127.0.0.1:{port}{path}") as url:
        yield url
