"""MySQL and MariaDB below ``database.py``."""

import ssl
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import aiomysql
from databases import DatabaseURL
from databases.backends.mysql import MySQLBackend
from pymysql.constants import CLIENT
from pymysql.err import InterfaceError, MySQLError

from ...ports.database import Value
from .driver import BUSY_SECONDS, STATEMENT_SECONDS, Connection, Denied, Fault
from .multi_row import statements
from .mysql_bounds import PLACE, Abandoned, Place, statement_bound
from .query_files import Dialect, Query

PROBE_TEXT: Final = "Ä€🗳"

_authenticate = aiomysql.Connection._request_authentication


async def _authenticate_encrypted(connection: Any) -> None:
    """aiomysql would log in in plain text where the server, or somebody in between, says that it has no TLS."""
    if connection._ssl_context and not connection.server_capabilities & CLIENT.SSL:
        raise ssl.SSLError(1, "the server has no TLS, which ssl=true demands")
    await _authenticate(connection)


aiomysql.Connection._request_authentication = _authenticate_encrypted


class MySQL:
    """MySQL 8.0 and MariaDB 10.6 or later, by aiomysql.

    READ COMMITTED: a statement after a lock sees what the lock's last holder committed (under REPEATABLE READ it sees
    the transaction's first snapshot), and upserts take no gap locks. Strict mode: 300 must not be stored as 127.
    FOUND_ROWS: ``run`` counts the rows that matched, changed or not.
    """

    dialect: Dialect = "mysql"
    connections = 8
    begin = "START TRANSACTION"
    one_writer = False

    def __init__(self, url: DatabaseURL) -> None:
        """``ssl=true``: encrypted or not at all, with a certificate of ``ssl_ca``, else of the system's authorities."""
        options: dict[str, Any] = {}
        if url.options.get("ssl", "").lower() == "true":
            options["ssl"] = ssl.create_default_context(cafile=url.options.get("ssl_ca"))
        self._backend = MySQLBackend(
            url,
            min_size=0,
            max_size=self.connections + 1,  # one to kill what others gave up
            charset="utf8mb4",
            connect_timeout=BUSY_SECONDS,
            client_flag=CLIENT.FOUND_ROWS,
            sql_mode="'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
            **options,
        )
        self._abandoned = Abandoned(self._open_killer)

    async def open(self) -> None:
        # aiomysql turns the server's notes ("table exists") and deprecations into Python warnings.
        warnings.filterwarnings("ignore", category=aiomysql.Warning)
        await self._backend.connect()

    async def close(self) -> None:
        await self._abandoned.close()
        await self._backend.disconnect()

    def connection(self) -> Connection:
        return _MySQLConnection(self._backend, self._abandoned.add)

    async def _open_killer(self) -> "_MySQLConnection":
        connection = _MySQLConnection(self._backend, self._abandoned.add)
        await connection.acquire()
        return connection

    def fault(self, error: BaseException) -> Fault:
        if isinstance(error, UnicodeEncodeError):
            return Fault.DATA
        # RuntimeError: uvloop, of a transport that has ended.
        if isinstance(error, InterfaceError | OSError | EOFError | RuntimeError):
            return Fault.LOST
        if not isinstance(error, MySQLError) or not error.args or not isinstance(error.args[0], int):
            return Fault.BUG
        code = error.args[0]
        if code in _MYSQL_CODES:
            return _MYSQL_CODES[code]
        return Fault.LOST if 2000 <= code < 3000 else Fault.BUG

    def no_table(self, error: BaseException) -> bool:
        return isinstance(error, MySQLError) and error.args[:1] == (1146,)

    async def check(self, connection: Connection) -> None:
        """``Denied`` if the connection does not carry every character."""
        rows = await connection.fetch(
            "SELECT HEX(CONVERT(%(text)s USING utf8mb4)) AS bytes", {"text": PROBE_TEXT}
        )
        if str(rows[0]["bytes"]).upper() != PROBE_TEXT.encode().hex().upper():
            raise Denied(
                "the connection does not use utf8mb4; check the server's init_connect and character sets"
            )

    async def durability(self, connection: Connection) -> tuple[bool, str]:
        rows = await connection.fetch("SELECT @@innodb_flush_log_at_trx_commit AS flush", {})
        return int(rows[0]["flush"]) == 1, f"innodb_flush_log_at_trx_commit={rows[0]['flush']}"


# Codes of mariadb.com/docs (error codes) and dev.mysql.com (server error reference).
_MYSQL_CODES: Final[Mapping[int, Fault]] = {
    **dict.fromkeys((1062, 1586), Fault.DUPLICATE),
    # Null, out of range, truncated, wrong value, too long, packet too large, check violated, not of the character set.
    **dict.fromkeys((1048, 1153, 1264, 1265, 1292, 1300, 1366, 1406, 1690, 3819, 3988, 4025), Fault.DATA),
    **dict.fromkeys((1050, 1060, 1061), Fault.EXISTS),
    # Disk full or failing, out of memory, too many connections, lock timeout, deadlock, read-only, killed or too slow.
    **dict.fromkeys((3, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1114, 1129, 1180, 1181), Fault.PASSING),
    **dict.fromkeys((1203, 1205, 1206, 1213, 1290, 1317, 1792, 1836, 1969, 3024), Fault.PASSING),
    # Shutting down, connection aborted or killed, network errors, idle for too long.
    **dict.fromkeys((1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031), Fault.LOST),
    # Wrong password, unknown database, host not allowed, another way to log in, password expired, TLS demanded, locked.
    **dict.fromkeys((1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151), Fault.NOT_IN),
    **dict.fromkeys((1044, 1142, 1143), Fault.NO_RIGHT),
}


class _MySQLConnection:
    def __init__(self, backend: MySQLBackend, abandon: Callable[[Place], None]) -> None:
        self._connection = backend.connection()
        self._raw: Any = None
        self._abandon = abandon
        self._place: Place | None = None
        self._running = False

    @property
    def usable(self) -> bool:
        return self._raw is not None

    async def acquire(self) -> None:
        await self._connection.acquire()
        self._raw = self._connection.raw_connection

    async def open(self) -> None:
        await self.acquire()
        # By statement: a server with skip-character-set-client-handshake ignores what the client said at log-in.
        await self.run("SET NAMES utf8mb4", {})
        await self.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", {})
        await self.run(f"SET SESSION innodb_lock_wait_timeout = {BUSY_SECONDS}", {})
        await self.run(statement_bound(STATEMENT_SECONDS), {})
        self._place = await self.place()

    async def place(self) -> Place:
        (row,) = await self.fetch(PLACE, {})
        return Place(int(row["connection"]), row.get("server"))

    async def kill(self, connection: int) -> None:
        await self.run(f"KILL CONNECTION {connection}", {})

    async def alive(self) -> None:
        await self._raw.ping(reconnect=False)

    async def fetch(self, text: str, values: Mapping[str, Value]) -> list[dict[str, Any]]:
        cursor = await self._raw.cursor(aiomysql.DictCursor)
        await self._execute(cursor, text, values)
        return list(await cursor.fetchall())

    async def run(self, text: str, values: Mapping[str, Value]) -> int:
        cursor = await self._raw.cursor()
        await self._execute(cursor, text, values)
        return int(cursor.rowcount)

    async def many(self, text: str, rows: Sequence[Mapping[str, Value]]) -> None:
        cursor = await self._raw.cursor()
        for statement in statements(text, rows, self._raw.escape):
            await self._execute(cursor, statement, None)

    async def _execute(self, cursor: Any, text: str | bytes, values: Mapping[str, Value] | None) -> None:
        """Still ``_running`` afterwards where nobody waited for the answer."""
        self._running = True
        try:
            await cursor.execute(text, values)
        except Exception:
            self._running = False
            raise
        self._running = False

    async def prepare(self, query: Query) -> None:
        await self.run("PREPARE checked FROM %(text)s", {"text": query.prepared})
        await self.run("DEALLOCATE PREPARE checked", {})

    def drop(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()
            if self._running and self._place is not None:
                self._abandon(self._place)
            # A closed connection only leaves the pool's books: the coroutine ends at its first step.
            with suppress(StopIteration):
                self._connection.release().send(None)

    async def close(self) -> None:
        if self._raw is not None:
            await self._raw.ensure_closed()
            self.drop()
