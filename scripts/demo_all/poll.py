"""The poll: its images in MinIO, its voters, and where its votes are counted."""

import asyncio
import importlib.util
import io
import json
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer
from PIL import Image, ImageDraw

from scripts.demo_all.voters import (
    Failed,
    HttpVoter,
    Message,
    RawVoter,
    SocketIoVoter,
    Voter,
    Watcher,
    answered,
)

T = TypeVar("T")
V = TypeVar("V", bound=Voter)

DRINKS = {
    "Tea": ("PNG", (60, 120, 60)),
    "Coffee": ("JPEG", (110, 70, 40)),
    "Cocoa": ("WEBP", (150, 60, 60)),
    "Water": ("GIF", (60, 110, 180)),
}
SENT_SIZE = (1500, 1000)
COLOUR_ERROR = 16
AT_ONCE = 32
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "kafka_tally.py"


@dataclass(frozen=True)
class Site:
    """``library``: the folder of socket.io-client."""

    instances: tuple[str, ...]
    settings: dict[str, str]
    library: str


class Demo:
    def __init__(self, site: Site, clients: list[httpx.AsyncClient]) -> None:
        self.site = site
        self.clients = clients
        self.voters: list[Voter] = []
        self.poll: Message = {}
        self.owner: dict[str, str] = {}
        spec = importlib.util.spec_from_file_location("kafka_tally", EXAMPLE)
        assert spec is not None and spec.loader is not None
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        self.kafka = example.Tallies()

    async def call(self, instance: int, method: str, path: str, **request: Any) -> Message:
        """The body of a success; refused for the rate, it asks again. Raises ``Failed``."""
        client = self.clients[instance]
        for _ in range(20):
            response = await client.request(method, path, **request)
            if response.status_code != 429:
                break
            await asyncio.sleep(response.json()["retryAfter"])
        if not response.is_success:
            raise Failed(f"{method} {path} was answered with {response.status_code} {response.text[:300]}")
        return answered(response)

    async def open(self) -> None:
        account = {"email": f"demo-{secrets.token_hex(4)}@example.org", "password": secrets.token_hex(12)}
        made = await self.call(0, "POST", "/auth/register", json=account)
        self.owner = {"Authorization": f"Bearer {made['accessToken']}"}
        rules = {
            "question": "What shall we drink?",
            "options": list(DRINKS),
            "allowChange": True,
            "guests": True,
        }
        self.poll = (await self.call(0, "POST", "/polls", json=rules, headers=self.owner))["poll"]
        print(f"\n{self.poll['question']} Poll {self.poll['id']}, code {self.poll['code']}")

    async def images(self) -> None:
        """Put through an instance in turn, then read from MinIO by the addresses that the other one shows."""
        for n, option in enumerate(self.poll["options"]):
            kind, colour = DRINKS[option["label"]]
            picture = Image.new("RGB", SENT_SIZE, "white")
            ImageDraw.Draw(picture).ellipse((250, 0, 1250, 1000), fill=colour)
            data = io.BytesIO()
            picture.save(data, kind)
            path = f"/polls/{self.poll['id']}/options/{option['id']}/image"
            await self.call(n % 2, "PUT", path, content=data.getvalue(), headers=self.owner)
            shown = (await self.call(1 - n % 2, "GET", f"/polls/{self.poll['id']}"))["poll"]["options"][n]
            large = await self._read(shown["imageUrl"], 1024, colour)
            small = await self._read(shown["thumbnailUrl"], 256, colour)
            print(
                f"{option['label']:<7}a {kind} through instance {n % 2 + 1}; from MinIO {large} and {small}"
            )
        print(f"       the last one is {shown['imageUrl']}")

    async def _read(self, url: str, longest: int, colour: tuple[int, ...]) -> str:
        if not url.startswith(self.site.settings["S3_PUBLIC_URL"] + "/"):
            raise Failed(f"{url} is not in the bucket")
        async with httpx.AsyncClient(trust_env=False) as browser:
            got = await browser.get(url)
        if got.status_code != 200:
            raise Failed(f"{url} was answered with {got.status_code}")
        image = Image.open(io.BytesIO(got.content))
        middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
        assert isinstance(middle, tuple)
        near = all(abs(a - b) <= COLOUR_ERROR for a, b in zip(middle, colour, strict=True))
        if (image.format, max(image.size)) != ("WEBP", longest) or not near:
            raise Failed(f"{url} is {image.format} {image.size} {middle}, sent was {colour}")
        return f"{image.format} {image.width}x{image.height} ({len(got.content):,} bytes)"

    async def consume(self) -> None:
        """Keep the tally of docs/examples/kafka_tally.py, from the topic alone."""
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a warning a second until there is a topic
        topic, brokers = self.site.settings["KAFKA_TOPIC"], self.site.settings["KAFKA_BROKERS"]
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=brokers, auto_offset_reset="earliest", metadata_max_age_ms=1000
        )
        async with consumer:
            async for record in consumer:
                self.kafka.take(json.loads(record.value))

    def of_kafka(self) -> dict[str, int]:
        known = self.poll["id"] in self.kafka.ballots
        return dict(self.kafka.of(self.poll["id"])["counts"]) if known else {}

    def acked(self) -> dict[str, int]:
        return dict(Counter(voter.choice for voter in self.voters if voter.choice is not None))

    def tally(self, instance: int) -> Message:
        """The newest that a socket of the instance got."""
        tallies = [
            v.tally for v in self.voters if isinstance(v, Watcher) and v.instance == instance and v.tally
        ]
        return max(tallies, key=lambda tally: (tally["epoch"], tally["seq"]), default={"voters": 0})

    def one(self, kind: type[V]) -> V:
        """A voter of that kind that was not disconnected."""
        return next(
            v for v in self.voters if isinstance(v, kind) and not (isinstance(v, Watcher) and v.ended)
        )

    async def results(self, instance: int) -> dict[str, int]:
        tally = (await self.call(instance, "GET", f"/polls/{self.poll['id']}/results"))["tally"]
        return {option: n for option, n in tally["counts"].items() if n}

    async def guests(self, number: int) -> list[SocketIoVoter]:
        """As many voters, a third of each kind, half of each on either instance; those with socket.io-client."""
        kinds = (RawVoter, HttpVoter, SocketIoVoter)

        async def guest(n: int) -> Voter:
            instance = n // len(kinds) % 2
            token = (await self.call(instance, "POST", "/auth/guest"))["accessToken"]
            return kinds[n % len(kinds)](instance, self.clients[instance], token, self.poll["id"])

        self.voters = await each(guest(n) for n in range(number))
        return [voter for voter in self.voters if isinstance(voter, SocketIoVoter)]


async def each(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results, ``AT_ONCE`` at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(work: Awaitable[T]) -> T:
        async with gate:
            return await work

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(work)) for work in works]
    return [task.result() for task in tasks]
