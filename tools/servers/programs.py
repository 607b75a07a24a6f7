"""Programs of the tests: found, installed, or got once into the user's cache."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 1800


class Missing(Exception):
    """A service that cannot be had here. ``str()`` says why."""


def ensure(find: Callable[[], str], get: Callable[[], bool] | None) -> None:
    """Have it got where nothing is found and that is possible. Raises ``Missing`` for what is missing after that."""
    try:
        find()
    except Missing:
        if get is None:
            raise
        get()
        find()


def package(name: str) -> Callable[[], bool]:
    """How to have a Debian package installed; it answers whether that worked."""
    script = _ROOT / "scripts" / "install-packages"
    return lambda: subprocess.run([script, name], stdout=sys.stderr).returncode == 0


def program(*names: str, of: str = "mariadb-server") -> str:
    """The absolute path of the first that is there. Raises ``Missing``. ``of``: the Debian package that has them."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return str(Path(found).absolute())
    raise Missing(f"{names[0]} is not installed (Debian, Ubuntu: apt-get install {of})")


def nginx_program() -> str:
    """Raises ``Missing``."""
    return program("nginx", of="nginx")


def caddy_program() -> str:
    """Raises ``Missing``."""
    return program("caddy", of="caddy")


def cache() -> Path:
    """The folder of what was got once."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pollroom" / "bin"


def pip_install(folder: Path, package: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(folder), package], check=True, stdout=sys.stderr)


@contextmanager
def getting() -> Iterator[Path]:
    """A folder in the cache to make something in, which goes at the end; one process at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=cache()) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder)


def faketime_library() -> str:
    """libfaketime, for a process whose host clock is wrong. Raises ``Missing``."""
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for path in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1")):
            return str(path)
    raise Missing("libfaketime is not installed (Debian, Ubuntu: apt-get install faketime)")
