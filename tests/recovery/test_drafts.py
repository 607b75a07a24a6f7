"""Whether a code belongs to somebody else's draft cannot be told from how it is looked up."""

import pytest

from app.domain.errors import PollroomError
from tests.recovery.site import Site

pytestmark = pytest.mark.anyio


async def test_the_code_of_another_users_draft_is_looked_up_like_a_code_of_nothing(site: Site) -> None:
    async with site.open() as node:
        reader = node.stores.reader
        poll = await node.poll(draft=True)
        assert await reader.poll_id(poll.code, "owner") == poll.id
        await node.redis("CONFIG", "RESETSTAT")
        for code in (poll.code, "AAAAAA"):
            for user in ("stranger", None):
                with pytest.raises(PollroomError, match="no such thing"):
                    await reader.poll_id(code, user)
        assert "cmdstat_evalsha" not in await node.redis("INFO", "commandstats")
