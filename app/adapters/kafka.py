"""The topic in Kafka, by aiokafka (``pip install ".[kafka]"``): nobody else imports it."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError

from ..domain.errors import unavailable
from ..ports.messaging import Message
from ..utils import logger
from ..utils.single_flight import SingleFlight

CONNECT_SECONDS: Final = 10.0
REQUEST_MS: Final = 5_000
RETRY_MS: Final = 300
SEND_SECONDS: Final = 10.0
"""Within this aiokafka tries again by itself, without doubles; a batch that takes longer is given up with its producer."""
CLOSE_SECONDS: Final = 2.0
BATCH_BYTES: Final = 512 << 10
"""Below the 1 MiB that a broker takes unless told otherwise."""

log = logger.get(__name__)


class KafkaTopic:
    """``brokers``: ``host:port`` each. A topic that is missing is made with so many ``partitions``.

    Of each partition one batch is on its way at a time, so there is nothing that a failed one could be overtaken by.
    """

    def __init__(self, brokers: Sequence[str], name: str, partitions: int) -> None:
        self._brokers = list(brokers)
        self._name = name
        self._partitions = partitions
        self._producer: AIOKafkaProducer | None = None
        self._there = 0
        self._connecting: SingleFlight[None, AIOKafkaProducer] = SingleFlight()
        # Several lines for every try while Kafka is away: what follows from it we say ourselves.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def ready(self) -> None:
        producer = await self._connected()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                answered = await producer.client.force_metadata_update()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._give_up(producer, error)
            raise unavailable() from error
        if not answered:
            raise unavailable()

    async def send(self, partition: int, messages: Sequence[Message]) -> None:
        producer = await self._connected()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                batch = producer.create_batch()
                for key, value in messages:
                    if batch.append(timestamp=None, key=key, value=value) is None:
                        await self._deliver(producer, batch, partition)
                        batch = producer.create_batch()
                        batch.append(timestamp=None, key=key, value=value)
                if batch.record_count():
                    await self._deliver(producer, batch, partition)
        except (
            Exception
        ) as error:  # the library's own mistakes, too: a producer that failed is not used again
            await self._give_up(producer, error)
            raise unavailable() from error

    async def close(self) -> None:
        await self._connecting.close(CLOSE_SECONDS)
        if self._producer is not None:
            await self._give_up(self._producer, None)

    async def _deliver(self, producer: AIOKafkaProducer, batch: object, partition: int) -> None:
        delivered = await producer.send_batch(batch, self._name, partition=partition % self._there)
        await delivered

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        try:
            # aiokafka leaks a socket if it is cancelled while it connects.
            return await self._connecting.run(None, self._connect)
        except (KafkaError, TimeoutError, OSError) as error:
            raise unavailable() from error

    async def _connect(self) -> AIOKafkaProducer:
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._make()
            self._producer = await self._start()
        log.info("connected to Kafka", topic=self._name, partitions=self._there)
        return self._producer

    async def _make(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._brokers, request_timeout_ms=REQUEST_MS)
        try:
            await admin.start()
            # Without assignments aiokafka refuses -1, the broker's own replication factor.
            topic = NewTopic(self._name, self._partitions, -1, replica_assignments={})
            answer = await admin.create_topics([topic])
        finally:
            await admin.close()
        code, message = answer.topic_errors[0][1:3]
        if code not in (NoError.errno, TopicAlreadyExistsError.errno):
            # It may be there all the same, and only not ours to make.
            log.warning("Kafka did not make the topic", topic=self._name, code=code, error=message)

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=RETRY_MS,
        )
        try:
            await producer.start()
            self._there = len(await producer.partitions_for(self._name))
        except BaseException:
            await _stop(producer)
            raise
        if self._there != self._partitions:
            log.warning(
                "the topic has another number of partitions", topic=self._name, partitions=self._there
            )
        return producer

    async def _give_up(self, producer: AIOKafkaProducer, error: BaseException | None) -> None:
        """Its batches are sent again by another producer, from the offset in SQL."""
        if self._producer is producer:
            self._producer = None
            if error is not None:
                log.warning("Kafka does not take ballots", error=repr(error)[:200])
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Without its own ``stop``, which waits for what is pending, for ever while Kafka is away."""
    producer._closed = True
    for close in (producer._sender.close, producer.client.close):
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
