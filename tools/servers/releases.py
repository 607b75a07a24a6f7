"""Servers of other Debian releases: extracted once into the user's cache, and run with the libraries that they came with.

Nothing is installed and nothing needs root. A program is moved aside and replaced by a script that starts it by the
loader of its own release.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.servers.programs import BUILD_SECONDS, Missing, cache, getting, package

_STARTER = """#!/bin/sh
exec {loader} --argv0 "$0" --library-path {libraries} {program} "$@"
"""


@dataclass(frozen=True)
class Release:
    """``programs``: below ``usr/`` of the root file system, with the names that they are looked for by."""

    suite: str
    package: str
    programs: dict[str, str]


RELEASES = {
    "mysql": Release("sid", "mysql-server-core", {"mysqld": "sbin/mysqld"}),
    "mariadb-11": Release(
        "trixie",
        "mariadb-server",
        {
            "mariadbd": "sbin/mariadbd",
            "mariadb-install-db": "bin/mariadb-install-db",
            "my_print_defaults": "bin/my_print_defaults",
            "resolveip": "bin/resolveip",
        },
    ),
    "redis-8": Release("trixie", "redis-server", {"redis-server": "bin/redis-server"}),
    "valkey": Release("sid", "valkey-server", {"redis-server": "bin/valkey-server"}),
}


def released(name: str) -> Path:
    """A folder for ``PATH`` with the programs of a release. Raises ``Missing``."""
    folder = _kept(name) / "path"
    if not folder.is_dir():
        raise Missing(f"{name} is not there (`scripts/test --on {name}` gets it, with mmdebstrap)")
    return folder


def base_of(program: str) -> Path | None:
    """The folder ``usr`` that a program of a release finds its files below; none for an installed one."""
    path = Path(program).resolve()
    return path.parents[1] if path.is_relative_to(cache().resolve()) else None


def fetch(name: str) -> bool:
    """Into the user's cache, once: half a minute, 100 to 400 MB. False where that fails."""
    release = RELEASES[name]
    with getting() as folder:
        with suppress(Missing):
            released(name)  # another one has fetched it meanwhile
            return True
        if shutil.which("mmdebstrap") is None and not package("mmdebstrap")():
            return False
        root = folder / "root"
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={release.package}"]
        # A mirror may be a snapshot.
        command += ['--aptopt=Acquire::Check-Valid-Until "false"', release.suite, str(root)]
        try:
            subprocess.run(command, stdout=sys.stderr, check=True, timeout=BUILD_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return False
        for unneeded in ("doc", "man", "locale", "info"):
            shutil.rmtree(root / "usr" / "share" / unneeded, ignore_errors=True)
        (root / "path").mkdir()
        for name_on_path, program in release.programs.items():
            _start_by_its_loader(root, program, _kept(name))
            (root / "path" / name_on_path).symlink_to(Path("..") / "usr" / program)
        root.replace(_kept(name))
    return True


def _start_by_its_loader(root: Path, program: str, kept: Path) -> None:
    """``kept``: where ``root`` will lie."""
    path = root / "usr" / program
    real = path.resolve()
    if real.read_bytes()[:4] != b"\x7fELF":
        return  # a script
    (loader,) = root.glob("usr/lib*/ld-linux*.so.*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu*")
    path.unlink() if path.is_symlink() else (real := path.rename(path.with_name(f"{path.name}.elf")))
    path.write_text(
        _STARTER.format(
            loader=kept / loader.relative_to(root),
            libraries=kept / libraries.relative_to(root),
            program=kept / real.relative_to(root),
        )
    )
    path.chmod(0o755)


def _kept(name: str) -> Path:
    release = RELEASES[name]
    return cache() / f"{name}-{release.suite}-{os.uname().machine}"
