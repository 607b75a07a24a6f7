"""How far the log of a partition may be trimmed: to the slowest of its readers, while that one is not too slow."""

from ...domain.log_position import NOTHING, LogPosition
from ...ports.database import Database
from ...repositories import relay_offsets as readers
from ...repositories.relay_offsets import KAFKA, LOST, SQL
from ...utils import logger

LAG_LIMIT = 1_000_000

_log = logger.get(__name__)


async def trim_bound(
    database: Database, partition: int, generation: int, last_id: LogPosition, lag_limit: int
) -> LogPosition:
    """The last entry that may go, once SQL has committed ``last_id``.

    A relay that is more than ``lag_limit`` entries behind SQL, or reads a generation that has ended, loses its place in
    SQL before anything is trimmed that it lacks.
    """
    found = await readers.of_partition(database, partition)
    relay, sql = found.get(KAFKA), found.get(SQL)
    if relay is None or relay.gap == LOST or sql is None:
        return last_id
    lag = sql.passed - relay.passed
    if relay.generation == generation and lag <= lag_limit:
        return min(last_id, relay.last_id)
    if relay.generation > generation:
        return NOTHING  # this caller is the one that is late
    if not await readers.lose(database, relay):
        return NOTHING  # it has just moved: with the next batch
    _log.warning("the relay to Kafka lost its place in the log", partition=partition, entries=lag)
    return last_id
