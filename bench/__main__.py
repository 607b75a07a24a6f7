"""``python -m bench``: what ``scripts/bench`` runs."""

import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from bench import (
    machine,
    page,
    peers,
    rows_decks,
    rows_long,
    rows_process,
    rows_profile,
    rows_rooms,
    rows_slow,
    rows_votes,
)
from bench.process import Missing
from bench.run import Bench
from bench.stack import ROOT, Stack

ROWS = {
    "votes-100x10": rows_votes.votes_100x10,
    "votes-1000x1": rows_votes.votes_1000x1,
    "fanout": rows_rooms.fanout,
    "deck": rows_decks.deck,
    "http": rows_votes.http_votes,
    "memory": rows_process.memory,
    "connect": rows_process.connect,
    "start": rows_process.start,
    "worker": rows_process.worker,
    "redis-memory": rows_process.redis_memory,
    "hot": rows_rooms.hot,
    "visible": rows_rooms.visible,
    "slow": rows_slow.slow,
    "durable": rows_votes.durable,
    "total": rows_votes.total,
    "many": rows_rooms.many,
    "ledger": rows_long.ledger,
    "cold-load": rows_long.cold_load,
    "commitment": rows_long.commitment,
    "retention": rows_long.retention,
    "soak": rows_long.soak,
    "profile": rows_profile.profile,
}


NAMED = ("retention", "soak", "profile")
"""Only where they are named."""


@click.command()
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(ROWS)),
    help="This row alone; again for more. Without it: all but retention, soak and profile.",
)
@click.option("--quick", is_flag=True, help="One short round of everything: does it run?")
@click.option("--no-peers", is_flag=True, help="Without the servers of others.")
@click.option("--rounds", default=5, show_default=True, help="Rounds that medians are taken of.")
@click.option(
    "--tree", type=click.Path(path_type=Path, exists=True), default=ROOT, help="Measure another checkout."
)
@click.option("--docs", type=click.Path(path_type=Path), help="Write the page here; docs/ unless --quick.")
@click.option("--list", "list_", is_flag=True, help="Name the rows.")
def main(
    only: tuple[str, ...],
    quick: bool,
    no_peers: bool,
    rounds: int,
    tree: Path,
    docs: Path | None,
    list_: bool,
) -> None:
    """Measure the server beside floors and peers, interleaved, and write docs/benchmarks.md."""
    if list_:
        for name, row in ROWS.items():
            click.echo(f"{name:<16} {(row.__doc__ or '').splitlines()[0]}")
        return
    machine.pin_myself()
    docs = docs or (None if quick else ROOT / "docs")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="pollroom-bench-") as temporary:
        folder = Path(temporary)
        if not no_peers:
            try:
                peers.install()
            except Missing as missing:
                print(f"not measured: peers: {missing}", file=sys.stderr)
                no_peers = True
        try:
            with Stack(folder, tree=tree, sql="sqlite" if quick else "mariadb") as stack:
                bench = Bench(stack, folder, quick, not no_peers, 1 if quick else rounds)
                for name in only or [name for name in ROWS if name not in NAMED]:
                    failed += not _measured(name, bench)
                    if docs is not None:
                        page.write(docs, bench.results)
        except Missing as missing:
            sys.exit(f"not measured: {missing}")
    sys.exit(1 if failed else 0)


def _measured(row: str, bench: Bench) -> bool:
    """One row; where it fails it says why, and the others go on."""
    start, neighbours = time.monotonic(), machine.Neighbours()
    print(f"== {row}", flush=True)
    try:
        ROWS[row](bench, bench.results)
    except Missing as missing:
        print(f"not measured: {row}: {missing}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
        return False
    share = bench.results.disturbed[row] = neighbours.share()
    bench.say(f"{time.monotonic() - start:.0f} s; others used {share:.0%} of the cores")
    return True


if __name__ == "__main__":
    main()
