"""Keep the tallies of all polls from Kafka alone: ``python kafka_tally.py localhost:9092 pollroom.votes``. Needs aiokafka."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress

from aiokafka import AIOKafkaConsumer


class Tallies:
    def __init__(self) -> None:
        self.ballots: dict[str, dict[str, dict]] = {}

    def take(self, message: dict) -> bool:
        """Return False for a duplicate or older ballot. For each voter of a poll, the highest ``n`` counts."""
        voters = self.ballots.setdefault(message["poll"], {})
        known = voters.get(message["voter"])
        if message["v"] != 1 or (known and known["n"] >= message["n"]):
            return False
        voters[message["voter"]] = message
        return True

    def of(self, poll: str) -> dict:
        standing = [ballot for ballot in self.ballots[poll].values() if not ballot["retracted"]]
        counts = Counter(option for ballot in standing for option in ballot["optionIds"])
        return {"poll": poll, "voters": len(standing), "counts": counts}


async def main(brokers: str, topic: str) -> None:
    tallies = Tallies()
    async with AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            message = json.loads(record.value)
            if tallies.take(message):
                print(json.dumps(tallies.of(message["poll"])), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
