"""Commands for operators: accounts, polls, the audit log."""

from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import click

from ..domain.values import rfc3339
from ..services.polls.operators import Operators
from .resources import open_resources
from .settings import Settings

Work = Callable[[Settings], Coroutine[Any, Any, int]]
Act = Callable[[Operators], Coroutine[Any, Any, int | None]]


def add_commands(cli: click.Group, run: Callable[[Work], None]) -> None:
    def act(work: Act) -> None:
        async def with_settings(settings: Settings) -> int:
            async with _operators(settings) as operators:
                return await work(operators) or 0

        run(with_settings)

    @cli.group()
    def user() -> None:
        """Accounts: list, add, reset-password, suspend, delete. Running servers follow within 5 seconds."""

    @user.command("list")
    def list_() -> None:
        """One line per account: id, e-mail (- for a user of your own), when it was made, whether it is suspended."""

        async def work(operators: Operators) -> None:
            async for row in operators.accounts():
                state = "suspended" if row["suspended_at"] is not None else "active"
                click.echo(f"{row['id']} {row['email'] or '-'} {rfc3339(row['created_at'])} {state}")

        act(work)

    @user.command()
    @click.argument("email")
    def add(email: str) -> None:
        """Make an account and print a one-time password, which takes one log-in within a day."""

        async def work(operators: Operators) -> None:
            click.echo(await operators.add_account(email))

        act(work)

    @user.command("reset-password")
    @click.argument("account")
    def reset_password(account: str) -> None:
        """Print a one-time password for an account (e-mail or id) and end its sessions.

        It takes one log-in within a day, and then counts as the old password of POST /auth/password.
        """

        async def work(operators: Operators) -> None:
            click.echo(await operators.reset_password(account))

        act(work)

    @user.command()
    @click.argument("account")
    @click.option("--resume", is_flag=True, help="Lift the suspension.")
    def suspend(account: str, resume: bool) -> None:
        """End the sessions of an account (e-mail or id) and refuse its log-ins and tokens."""

        async def work(operators: Operators) -> None:
            await operators.suspend(account, resume=resume)
            click.echo("resumed" if resume else "suspended")

        act(work)

    @user.command()
    @click.argument("account")
    def delete(account: str) -> None:
        """Delete an account (e-mail or id); the worker deletes its polls within a minute."""

        async def work(operators: Operators) -> None:
            await operators.delete_account(account)
            click.echo("deleted")

        act(work)

    @cli.group()
    def poll() -> None:
        """Polls: delete."""

    @poll.command("delete")
    @click.argument("poll_")
    def delete_poll(poll_: str) -> None:
        """Delete a poll by its id or join code."""

        async def work(operators: Operators) -> None:
            click.echo(f"{await operators.delete_poll(poll_)} deleted")

        act(work)

    @cli.command()
    @click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
    def audit(limit: int) -> None:
        """The latest lines of the audit log, newest first: time, event, account, detail."""

        async def work(operators: Operators) -> None:
            for row in await operators.audited(limit):
                click.echo(f"{rfc3339(row['at'])} {row['event']} {row['user_id'] or '-'} {row['detail']}")

        act(work)


@asynccontextmanager
async def _operators(settings: Settings) -> Any:
    async with open_resources(settings, beside=True) as resources:
        operators, close = resources.operators()
        try:
            yield operators
        finally:
            close()
