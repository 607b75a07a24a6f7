"""Redis behind a network that drops every packet to it: in a network namespace of its own."""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.faults.scene import NotInjected, Round, Scene
from tools.faults.stage import Stage
from tools.servers import DURABLE, RedisServer, redis_binary


@dataclass
class Network:
    """A namespace that is reached by one pair of virtual wires. ``here``, ``there``: addresses of their ends."""

    name: str
    here: str
    there: str

    def run(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.name, *command)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotInjected(f"{' '.join(command[:4])}: {done.stderr.strip()}")


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    for program, package in (("ip", "iproute2"), ("iptables", "iptables")):
        if shutil.which(program) is None:
            script = Path(__file__).parents[2] / "scripts" / "install-packages"
            subprocess.run([script, package], capture_output=True)
            if shutil.which(program) is None:
                raise NotInjected(f"{program} is not installed")
    if os.getuid() != 0:
        raise NotInjected("network namespaces need root")
    number = random.SystemRandom().randrange(64)
    made = Network(f"pollroom{os.getpid()}", f"100.64.{64 + number}.1", f"100.64.{64 + number}.2")
    wire = f"pr{os.getpid() % 1_000_000}"
    _run("ip", "netns", "add", made.name)
    try:
        _run("ip", "link", "add", f"{wire}a", "type", "veth", "peer", "name", f"{wire}b", "netns", made.name)
        _run("ip", "addr", "add", f"{made.here}/30", "dev", f"{wire}a")
        _run("ip", "link", "set", f"{wire}a", "up")
        made.run("ip", "addr", "add", f"{made.there}/30", "dev", f"{wire}b")
        made.run("ip", "link", "set", f"{wire}b", "up")
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], capture_output=True)


class Remote(RedisServer):
    def __init__(self, folder: Path, network: Network) -> None:
        super().__init__(folder, redis_binary(), DURABLE | {"bind": "0.0.0.0", "protected_mode": "no"})
        self._network = network

    @property
    def url(self) -> str:
        return f"redis://{self._network.there}:{self.port}/0"

    def command(self) -> list[str]:
        ip = shutil.which("ip")
        assert ip is not None
        return [ip, "netns", "exec", self._network.name, *super().command()]

    def ready(self) -> bool:
        command = ["ip", "netns", "exec", self._network.name, "redis-cli", "-p", str(self.port), "ping"]
        return b"PONG" in subprocess.run(command, capture_output=True).stdout


async def run(round: Round) -> None:
    async with network() as net, Stage(round.folder, redis=Remote(round.folder / "redis", net)) as stage:
        scene = Scene(round, stage)
        for seconds in (5,) * round.times(1, 0) + (60,) * round.times(0, 3):
            async with scene.act() as load:
                rule = ["-p", "tcp", "--dport", str(stage.redis.port), "-j", "DROP"]
                net.run("iptables", "-I", "INPUT", *rule)
                await asyncio.sleep(seconds)
                net.run("iptables", "-D", "INPUT", *rule)
                round.hit()
                await load.until_answered(100, 90)
