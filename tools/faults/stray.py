"""A process of the deployment that was started with no Redis, an empty one, or that of another deployment."""

import asyncio
from itertools import product

from tools.faults.scene import Round, Scene
from tools.faults.stage import Stage
from tools.harness.process import run
from tools.servers import DURABLE, RedisServer, redis_binary

COMMANDS = ("serve", "worker", "relay", "recount --all", "dead-letters")
ENDS_SECONDS = 60
GENERATIONS = "SELECT `partition`, generation FROM log_offsets WHERE reader = 'sql' ORDER BY `partition`"


async def strays(round: Round) -> None:
    """Each is refused with one line, and the others go on as if it had never been there."""
    async with round.stage() as stage:
        scene = Scene(round, stage)
        empty, foreign = _redis(stage, "empty"), _redis(stage, "foreign")
        try:
            await asyncio.to_thread(_deploy, stage, foreign)
            wrong = {"no Redis": {}, "an empty Redis": {"REDIS_URL": empty.url}}
            wrong["another deployment's Redis"] = {"REDIS_URL": foreign.url}
            kinds = list(product(COMMANDS, wrong))
            round.dice.shuffle(kinds)
            async with scene.act() as load:
                before = await stage.sql(GENERATIONS)
                for number in range(round.times(6, 50)):
                    command, kind = kinds[number % len(kinds)]
                    await asyncio.to_thread(_stray, round, stage, command, kind, wrong[kind])
                    round.hit()
                    await load.until_answered(50)
                if await stage.sql(GENERATIONS) != before:
                    round.verdict.wrong.append("a stray process changed the generations")
        finally:
            empty.kill()
            foreign.kill()


def _redis(stage: Stage, name: str) -> RedisServer:
    # Ends with the main thread, as the stage's own servers do.
    server = RedisServer(stage.folder / name, redis_binary(), DURABLE)
    server.start()
    return server


def _deploy(stage: Stage, foreign: RedisServer) -> None:
    """Another deployment, on a database of its own."""
    folder = stage.folder / "another"
    folder.mkdir(exist_ok=True)
    settings = stage.settings | {
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'pollroom.db'}",
        "REDIS_URL": foreign.url,
        "DATA_DIR": str(folder),
    }
    for command in ("migrate", "recount --all"):
        done = run(command.split(), settings)
        assert done.returncode == 0, done.stdout


def _stray(round: Round, stage: Stage, command: str, kind: str, redis: dict[str, str]) -> None:
    settings = {name: value for name, value in stage.settings.items() if name != "REDIS_URL"} | redis
    settings |= {"DATA_DIR": str(stage.folder / "stray"), "KAFKA_BROKERS": "127.0.0.1:1", "PORT": "0"}
    done = run(command.split(), settings, ENDS_SECONDS)
    if done.returncode != 1 or "Traceback" in done.stdout or "Error: " not in done.stdout:
        round.verdict.wrong.append(
            f"{command} with {kind} ended with {done.returncode}: {done.stdout[-1000:]}"
        )
