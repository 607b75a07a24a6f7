"""The client library of Socket.IO, for node."""

import shutil
import subprocess
import sys
from contextlib import suppress

from tools.servers.programs import BUILD_SECONDS, Missing, cache, getting, package

_VERSION = "4.8.4"


def socketio_client() -> str:
    """The folder that ``socket.io-client`` is installed in, for node. Raises ``Missing``."""
    if shutil.which("node") is None:
        raise Missing("node is not on PATH (Debian, Ubuntu: apt-get install nodejs npm)")
    folder = cache() / f"socket.io-client-{_VERSION}"
    if not folder.is_dir():
        raise Missing("socket.io-client is not there (scripts/services gets it, with npm)")
    return str(folder)


def fetch_socketio_client() -> bool:
    """Into the user's cache, once: 4 MB by npm. False where that fails."""
    with getting() as folder:
        if (shutil.which("node") is None or shutil.which("npm") is None) and not package("npm")():
            return False
        with suppress(Missing):
            socketio_client()  # another one has fetched it meanwhile
            return True
        command = ["npm", "install", "--prefix", str(folder), "--no-save", "--no-package-lock"]
        command += ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", f"socket.io-client@{_VERSION}"]
        try:
            subprocess.run(command, stdout=sys.stderr, check=True, timeout=BUILD_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return False
        kept = cache() / f"socket.io-client-{_VERSION}"
        kept.mkdir()
        (folder / "node_modules").replace(kept / "node_modules")
    return True
