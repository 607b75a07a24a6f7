"""The command line."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

import click
import msgspec
import uvloop

from .adapters.redis.connection.client import REFUSED, SILENT
from .adapters.redis.embedded.server_process import AlreadyRunning, ServerProcessError
from .adapters.sql.migrations import MigrationError
from .bootstrap.operator_commands import add_commands
from .bootstrap.resources import NotMigrated, Resources, migrate, open_resources, remove_relay, worker_tasks
from .bootstrap.server import serve, until_signalled
from .bootstrap.settings import ConfigError, Settings
from .bootstrap.startup import StartError
from .bootstrap.web import open_web
from .domain.errors import PollroomError
from .repositories.ballots import oldest_dead_letters
from .simulate import (
    MOST_POLLS,
    MOST_QUESTIONS,
    MOST_VOTERS,
    Plan,
    Refused,
    Screen,
    TooFewFiles,
    addresses,
    simulate,
)
from .utils import logger

EXPECTED = (
    ConfigError,
    StartError,
    NotMigrated,
    AlreadyRunning,
    ServerProcessError,
    MigrationError,
    PollroomError,
    *SILENT,
    *REFUSED,
)
"""Failures of a start that a sentence explains better than a trace."""


def run(work: Callable[[Settings], Coroutine[Any, Any, int]]) -> None:
    """Run a command with the settings of the environment; its number is the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        logger.configure(settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sys.exit(runner.run(work(settings)))
    except EXPECTED as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


@click.group()
def cli() -> None:
    """Pollroom: live polls over HTTP and WebSockets. Settings come from the environment, see .env.example."""


@cli.command("serve")
def serve_() -> None:
    """Serve HTTP and WebSockets; with nothing set, everything is embedded, the worker too."""

    async def work(settings: Settings) -> int:
        async with (
            open_resources(settings, heals=True) as stores,
            open_web(stores, embedded_worker=settings.embedded_database) as web,
        ):
            await serve(web, lambda address: click.echo(f"Pollroom listens on {address}{_reach(settings)}"))
        return 0

    run(work)


def _reach(settings: Settings) -> str:
    """Phones in the hall cannot reach loopback."""
    alone = settings.embedded_database and settings.host in ("127.0.0.1", "localhost", "::1")
    if not alone or settings.public_url:
        return ""
    return "\nOnly this computer can reach it. For phones in your network: HOST=0.0.0.0 scripts/run"


@cli.command()
def worker() -> None:
    """Store the vote log in SQL, and close polls whose time has come."""

    async def work(settings: Settings) -> int:
        async with open_resources(settings, heals=True) as stores:
            tasks = worker_tasks(stores, stores.worker(), stores.relay())
            tasks["ledger"] = stores.ledger_watch.run
            await _until_stopped("The vote worker runs.", stores, tasks)
        return 0

    run(work)


async def _until_stopped(
    message: str, resources: Resources, tasks: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
) -> None:
    """Run the tasks until SIGTERM or Ctrl-C."""
    stop = until_signalled()
    async with AsyncExitStack() as stack:
        for name, work in tasks.items():
            await stack.enter_async_context(resources.supervisor.running(name, work))
        click.echo(message)
        await stop.wait()


@cli.command()
@click.option("--remove", is_flag=True, help="Forget the relay: the log is no longer kept for it. Then end.")
def relay(remove: bool) -> None:
    """Send every ballot to Kafka (KAFKA_BROKERS), for others; also done by a worker that has KAFKA_BROKERS."""

    async def work(settings: Settings) -> int:
        if remove:
            click.echo(f"{await remove_relay(settings)} partitions are no longer relayed")
            return 0
        if not settings.kafka_brokers:
            raise ConfigError("KAFKA_BROKERS", "set for a relay")
        async with open_resources(settings) as stores:
            kafka = stores.relay()
            assert kafka is not None
            await _until_stopped("The relay runs.", stores, {"relay": kafka.run})
        return 0

    run(work)


@cli.command("migrate")
def migrate_() -> None:
    """Bring the database's schema up to date."""

    async def work(settings: Settings) -> int:
        click.echo(f"{await migrate(settings)} migrations applied")
        return 0

    run(work)


@cli.command()
@click.argument("poll", required=False)
@click.option("--all", "every", is_flag=True, help="Every poll.")
@click.option(
    "--repair", "--mend", "repair", is_flag=True, help="If they differ, count the ballots in Redis again."
)
def recount(poll: str | None, every: bool, repair: bool) -> None:
    """Compare the tally in Redis with the rows in SQL, once the log is stored. Exit status 1 where they differ."""
    if (poll is None) != every:
        raise click.UsageError("name a poll, or give --all")

    async def work(settings: Settings) -> int:
        differing = compared = 0
        async with open_resources(settings, beside=True) as stores:
            await stores.worker().drain()
            recounter = stores.recounter()
            ids = recounter.every_poll() if poll is None else _one(poll)
            async for poll_id in ids:
                found = await recounter.compare(poll_id)
                if not found.equal and repair:
                    click.echo(f"{poll_id} repairing: ledger {found.ledger}, sql {found.sql}")
                    found = await recounter.repair(poll_id)
                compared += 1
                differing += not found.equal
                if not found.equal or poll is not None:
                    word = "equal" if found.equal else "DIFFERENT"
                    click.echo(f"{poll_id} {word}: ledger {found.ledger}, sql {found.sql}")
        click.echo(f"{compared} polls compared, {differing} different")
        return 1 if differing else 0

    run(work)


async def _one(poll_id: str) -> "Any":
    yield poll_id


@cli.command("dead-letters")
@click.option("--replay", is_flag=True, help="Store them after all, oldest first.")
def dead_letters(replay: bool) -> None:
    """List log entries that SQL refused; their polls stay unavailable. Exit status 1 where some remain."""

    async def work(settings: Settings) -> int:
        async with open_resources(settings, beside=True) as stores:
            stored, refused, after = 0, 0, ""
            while replay:
                done, left, after = await stores.recorder().replay(stores.votes, after)
                if not done and not left:
                    click.echo(f"{stored} stored, {refused} refused")
                    break
                stored, refused = stored + len(done), refused + len(left)
            remaining, after = 0, ""
            while letters := await oldest_dead_letters(stores.database, after, 100):
                for letter in letters:
                    poll, entry = letter["poll_id"] or "(no poll)", letter["entry_id"]
                    click.echo(f"{letter['id']} {poll} p{letter['partition']:02d} {entry}: {letter['error']}")
                remaining, after = remaining + len(letters), letters[-1]["id"]
        if not remaining:
            click.echo("no dead letters")
        return 1 if remaining else 0

    run(work)


@cli.command("simulate")
@click.option("--voters", type=click.IntRange(1, MOST_VOTERS), default=100, show_default=True)
@click.option("--polls", type=click.IntRange(1, MOST_POLLS), default=1, show_default=True)
@click.option(
    "--deck",
    type=click.IntRange(1, MOST_QUESTIONS),
    help="One deck of so many polls instead: a host moves on while they answer. --seconds is the time for each.",
)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
@click.option(
    "--instances", metavar="URL,URL", help="Several servers in place of --url; voters spread over them."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=10,
    show_default=True,
    help="Over which they arrive, and then vote.",
)
@click.option(
    "--stay", type=click.FloatRange(0, 3600), default=0, help="Seconds that they remain afterwards."
)
@click.option(
    "--patience", type=click.FloatRange(1, 3600), default=60, help="Seconds to wait for what does not come."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, all else on stderr.")
def simulate_(
    voters: int,
    polls: int,
    deck: int | None,
    url: str,
    instances: str | None,
    seconds: float,
    stay: float,
    patience: float,
    as_json: bool,
) -> None:
    """Let guests vote over WebSockets and compare the tallies with what was acknowledged.

    Makes an account and polls, which remain. Exit status 1 where a tally differs, or a voter got no answer.
    """
    try:
        plan = Plan(voters, polls, addresses(instances or url), seconds, stay, patience, deck or 0)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    screen = Screen(sys.stderr if as_json else sys.stdout)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(simulate(plan, screen))
    except (Refused, TooFewFiles) as error:
        raise click.ClickException(str(error)) from error
    screen.write(report.lines())
    if as_json:
        click.echo(msgspec.json.encode(report))
    sys.exit(0 if report.ok else 1)


add_commands(cli, run)

if __name__ == "__main__":
    cli(prog_name="python -m app")
