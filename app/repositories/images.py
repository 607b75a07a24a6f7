"""The queries of ``sql/queries/image.sql``: stored images of options and what they take."""

from ..ports.database import Queries


async def insert(q: Queries, image: str, owner_id: str, size: int) -> None:
    """``size``: bytes of all its files."""
    await q.run("image.insert", id=image, owner_id=owner_id, bytes=size)


async def bytes_of_owner(q: Queries, owner_id: str) -> int:
    row = await q.one("image.bytes_of_owner", owner_id=owner_id)
    return 0 if row is None else int(row["bytes"])


async def delete(q: Queries, image: str) -> None:
    await q.run("image.delete", id=image)
