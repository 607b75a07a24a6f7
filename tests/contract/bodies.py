"""Every visibility, and every HTTP body that may show counts."""

from typing import Any

from tools.harness.http import Api, Person, ok

VISIBILITIES = ["always", "after_vote", "after_close", "owner"]
HIDING = VISIBILITIES[1:]


async def bodies(api: Api, poll: dict[str, Any], who: Person | None) -> list[str]:
    """Every body of HTTP that has a tally, as text."""
    paths = (f"/polls/{poll['id']}", f"/join/{poll['code']}", f"/polls/{poll['id']}/results")
    texts = []
    for path in paths:
        response = await api.get(path, who)
        ok(response)
        texts.append(response.text)
    return texts
