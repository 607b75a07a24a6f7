"""Figures of a web process for Prometheus, read when it asks: what is counted on a vote's way is a plain number there."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..adapters.redis.ledger.ledger import RedisLedger
from ..domain.errors import PollroomError
from ..ports.vote_log import VoteLog
from ..services.accounts.budgets import Budgets
from ..services.accounts.password_hashing import PasswordHashing
from ..services.accounts.sessions import Sessions
from ..services.health import Readiness
from ..services.rooms.broadcaster import Broadcaster
from ..services.rooms.connections import ConnectionRegistry
from ..utils.connection_table import ConnectionTable
from ..utils.loop_lag import BUCKETS, LoopLag
from ..workers.vote_worker import VoteWorker

PATIENCE_SECONDS = 1.0
STATUSES = ("ready", "degraded", "deaf", "failing", "draining")
BATCH_SIZES = (1, 4, 16, 64, 256)


@dataclass
class Sources:
    """``worker``: none where it is a process of its own."""

    registry: ConnectionRegistry
    broadcaster: Broadcaster
    ledger: RedisLedger
    readiness: Readiness
    votes: VoteLog
    worker: VoteWorker | None
    auth: Sessions
    budgets: Budgets
    passwords: PasswordHashing


class Figures:
    """Labels name codes, kinds and states alone: never a poll, a person, a choice or a token."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.connections: ConnectionTable | None = None
        self.loop_lag = LoopLag()
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)

    async def text(self) -> bytes:
        """In the text format 0.0.4. What Redis would have to tell is left out while it does not answer within a second."""
        (_, report), length = await asyncio.gather(self._sources.readiness.report(), self._log_length())
        now = CollectorRegistry(auto_describe=False)
        now.register(_Now([*self._counted(), *_readiness(report), *length]))
        return generate_latest(now) + generate_latest(self._process)

    def _counted(self) -> Iterator[Metric]:
        of = self._sources
        yield _gauge("pollroom_info", "What runs here.", 1, version=__version__)
        yield _gauge("pollroom_sockets", "Connections, of every transport.", len(of.registry.connections))
        if self.connections is not None:
            table = self.connections
            yield _gauge("pollroom_connections", "Client connections, HTTP and WebSocket.", table.open)
            yield _gauge("pollroom_connections_limit", "Client connections allowed.", table.limit)
            yield CounterMetricFamily(
                "pollroom_connections_dropped",
                "Connections dropped to make room for new ones.",
                value=table.dropped,
            )
        yield _loop_lag(self.loop_lag)
        yield _gauge(
            "pollroom_feeds", "Polls that somebody here watches, or did a moment ago.", of.broadcaster.feeds
        )
        yield _gauge(
            "pollroom_ballots_waiting", "Ballots that wait for an answer.", of.ledger.batcher.waiting
        )
        taken = CounterMetricFamily("pollroom_votes", "Votes and retractions by answer.", labels=["answer"])
        taken.add_metric(["accepted"], of.ledger.counts.accepted)
        taken.add_metric(["repeated"], of.ledger.counts.repeated)
        yield taken
        refused = CounterMetricFamily(
            "pollroom_votes_refused", "Votes and retractions that the ledger refused.", labels=["code"]
        )
        for code, number in sorted(of.ledger.counts.refused.items()):
            refused.add_metric([code], number)
        yield refused
        over = CounterMetricFamily(
            "pollroom_budget_refusals",
            "Calls refused because a client was over its budget.",
            labels=["budget"],
        )
        for budget, number in sorted(of.budgets.refused.items()):
            over.add_metric([budget], number)
        yield over
        logins = CounterMetricFamily("pollroom_logins", "Log-ins by result.", labels=["result"])
        for result, number in sorted(of.auth.logins.items()):
            logins.add_metric([result], number)
        yield logins
        waiting = "Passwords that wait for a hash or are being hashed."
        yield _gauge("pollroom_passwords_waiting", waiting, of.passwords.waiting)
        yield _batches(of.ledger.counts.sizes)
        delivered = CounterMetricFamily(
            "pollroom_deliveries",
            "Messages of feeds times sockets in the room; slow sockets skip to the newest.",
            labels=["type"],
        )
        for kind, number in sorted(of.broadcaster.delivered.items()):
            delivered.add_metric([kind], number)
        yield delivered
        if of.worker is not None:
            failing = int(of.worker.error is not None)
            yield _gauge("pollroom_worker_pending", "Log entries read and not stored yet.", of.worker.pending)
            yield _gauge("pollroom_worker_failing", "1 while storing fails.", failing)

    async def _log_length(self) -> list[Metric]:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                length = await self._sources.votes.length(self._sources.ledger.generations)
        except (PollroomError, TimeoutError):
            return []
        text = "Entries in the vote log: not in SQL yet, or kept for a relay."
        return [_gauge("pollroom_log_entries", text, length)]


class _Now(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _readiness(report: "dict[str, object]") -> Iterator[Metric]:
    status = GaugeMetricFamily("pollroom_status", "1 for the status of /readyz.", labels=["status"])
    for name in STATUSES:
        status.add_metric([name], float(report["status"] == name))
    yield status
    found = GaugeMetricFamily("pollroom_check", "1 where a check of /readyz is ok.", labels=["check"])
    checks = report["checks"]
    assert isinstance(checks, dict)
    for name, check in checks.items():
        found.add_metric([name], float(check["status"] == "ok"))
    yield found


def _batches(sizes: Mapping[int, int]) -> Metric:
    """``sizes``: ballots in a batch -> how many batches."""
    buckets = [0] * (len(BATCH_SIZES) + 1)
    for size, number in sizes.items():
        buckets[bisect_left(BATCH_SIZES, size)] += number
    bounds = [*(str(float(size)) for size in BATCH_SIZES), "+Inf"]
    total = sum(size * number for size, number in sizes.items())
    found = HistogramMetricFamily("pollroom_batch_ballots", "Ballots a script call.")
    found.add_metric([], list(zip(bounds, accumulate(buckets), strict=True)), total)
    return found


def _loop_lag(lag: LoopLag) -> Metric:
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    found = HistogramMetricFamily(
        "pollroom_event_loop_lag_seconds",
        "How late a timer of the event loop fires, measured 20 times per second.",
    )
    found.add_metric([], list(zip(bounds, accumulate(lag.counts), strict=True)), lag.total)
    return found


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    found = GaugeMetricFamily(name, text, labels=list(labels))
    found.add_metric(list(labels.values()), value)
    return found
