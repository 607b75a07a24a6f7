"""Values that the database keeps for good."""

from collections.abc import Callable
from contextlib import suppress

from ..domain.errors import DuplicateKey
from ..ports.database import Queries


async def kept(q: Queries, name: str, make: Callable[[], str]) -> str:
    """The value of ``name``, made once. Of processes that start together all get the first one's."""
    row = await q.one("setting.find", name=name)
    if row is None:
        with suppress(DuplicateKey):
            await q.run("setting.insert", name=name, value=make())
        row = await q.one("setting.find", name=name)
    assert row is not None
    return str(row["value"])


async def replaced(q: Queries, name: str, value: str) -> bool:
    """Set the value of ``name``. Whether it had another one before."""
    row = await q.one("setting.find", name=name)
    if row is not None and row["value"] == value:
        return False
    await q.run("setting.put", name=name, value=value)
    return row is not None
