"""MariaDB or MySQL, and empty databases on it."""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiomysql

from tools.servers.programs import program
from tools.servers.releases import base_of
from tools.servers.server import Server, running, talk

MYSQL_PASSWORD = "pollroom-secret"


class MariaDB(Server):
    """``url``: the root user, the database ``test``. ``options``: further ones of the command line, for the next start."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options

    @property
    def url(self) -> str:
        return f"mysql+aiomysql://root@127.0.0.1:{self.port}/test"

    def install(self) -> None:
        command = [
            program("mariadb-install-db", "mysql_install_db"),
            *self._options(),
            "--auth-root-authentication-method=normal",
        ]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"{command[0]} failed: {made.stdout}{made.stderr}")

    def _options(self) -> list[str]:
        base = base_of(mariadb_binary())
        return [
            "--no-defaults",
            *([f"--basedir={base}"] if base else []),
            *(["--user=root"] if os.getuid() == 0 else []),
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",  # one that starts removes what it finds of others there
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
        ]

    def command(self) -> list[str]:
        return [
            mariadb_binary(),
            *self._options(),
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=1",
            "--key-buffer-size=1M",
            "--performance-schema=OFF",
            *self.options,
        ]

    def ready(self) -> bool:
        return len(talk(self.port, b"")) > 0


class MySQL(MariaDB):
    """Lets the administrator in by its default log-in, with a password over TCP."""

    @property
    def url(self) -> str:
        return f"mysql+aiomysql://admin:{MYSQL_PASSWORD}@127.0.0.1:{self.port}/test"

    def install(self) -> None:
        (self.folder / "init.sql").write_text(
            f"CREATE USER admin@'127.0.0.1' IDENTIFIED BY '{MYSQL_PASSWORD}';\n"
            "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;\nCREATE DATABASE test;\n"
        )
        options = [*self._options(), f"--init-file={self.folder / 'init.sql'}", "--initialize-insecure"]
        made = subprocess.run([mysql_binary(), *options], capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"mysqld --initialize failed: {made.stdout}{made.stderr}")

    def _options(self) -> list[str]:
        base = base_of(mysql_binary())
        return [
            "--no-defaults",
            *([f"--basedir={base}", f"--lc-messages-dir={base}/share/mysql"] if base else []),
            *(["--user=root"] if os.getuid() == 0 else []),
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            "--innodb-redo-log-capacity=32M",
            "--innodb-flush-method=nosync",  # else a migrated database takes seconds; a killed process loses nothing
            "--innodb-doublewrite=OFF",
        ]

    def command(self) -> list[str]:
        return [
            mysql_binary(),
            *self._options(),
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--secure-file-priv=NULL",
            "--mysqlx=OFF",
            "--disable-log-bin",
            "--innodb-flush-log-at-trx-commit=1",
            "--performance-schema=OFF",
            *self.options,
        ]


def sql_server(folder: Path, *options: str) -> MariaDB:
    """Not started yet. With ``TEST_ON=mysql`` it is a MySQL."""
    return (MySQL if os.environ.get("TEST_ON") == "mysql" else MariaDB)(folder, *options)


@contextmanager
def mariadb(folder: Path, *options: str) -> Iterator[MariaDB]:
    """A ``sql_server`` of its own (a few seconds). Raises ``Missing``."""
    server = sql_server(folder, *options)
    server.install()
    with running(server):
        yield server


def mariadb_binary() -> str:
    """Raises ``Missing``."""
    return program("mariadbd", "mysqld")


def mysql_binary() -> str:
    """Raises ``Missing``."""
    return program("mysqld", of="mysql-server, which Debian's stable releases do not have")


@asynccontextmanager
async def fresh_database(url: str) -> AsyncIterator[str]:
    """The URL of an empty database on the server of ``url`` (``mysql+aiomysql://``); it is dropped at the end."""
    parts = urlsplit(url)
    name = f"pollroom_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await aiomysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            autocommit=True,
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
        finally:
            await connection.ensure_closed()

    await run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield parts._replace(path=f"/{name}").geturl()
    finally:
        await run(f"DROP DATABASE {name}")
