"""What one user may have: polls, decks, bytes of images."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.targets import Target
from tests.images.samples import noise
from tools.harness.http import Api, Person, ok, problem
from tools.harness.process import Server, serving
from tools.harness.shapes import option_ids
from tools.harness.wait import eventually

pytestmark = pytest.mark.anyio

IMAGE_BYTES = 20_000


@pytest.fixture(scope="module")
def server(where: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = where.settings | {
        "MAX_POLLS_PER_USER": "2",
        "MAX_DECKS_PER_USER": "2",
        "MAX_IMAGE_BYTES_PER_USER": str(IMAGE_BYTES),
    }
    with serving(tmp_path_factory.mktemp("quotas"), settings, where.instances) as found:
        yield found


async def put(api: Api, owner: Person, poll: dict[str, Any], number: int, data: bytes) -> Any:
    path = f"/polls/{poll['id']}/options/{option_ids(poll)[number]}/image"
    return await api.call("PUT", path, who=owner, content=data, headers={"Content-Type": "image/png"})


async def test_one_poll_more_is_forbidden_until_one_is_deleted(api: Api) -> None:
    user = await api.user()
    first = await api.poll(user)
    await api.poll(user)
    problem(await api.post("/polls", {"question": "?", "options": ["a", "b"]}, user), "FORBIDDEN")
    ok(await api.delete(f"/polls/{first['id']}", user), 204)

    async def again() -> int:
        return (await api.post("/polls", {"question": "?", "options": ["a", "b"]}, user)).status_code

    await eventually(again, lambda status: status == 201)  # SQL sees a deletion late


async def test_one_deck_more_is_forbidden_until_one_is_deleted(api: Api) -> None:
    user = await api.user()
    first = ok(await api.post("/decks", {"title": "a"}, user), 201)["deck"]
    ok(await api.post("/decks", {"title": "b"}, user), 201)
    problem(await api.post("/decks", {"title": "c"}, user), "FORBIDDEN")
    ok(await api.delete(f"/decks/{first['id']}", user), 204)
    ok(await api.post("/decks", {"title": "c"}, user), 201)
    ok(await api.post("/decks", {"title": "a"}, await api.user()), 201)


async def test_images_beyond_the_quota_are_forbidden_until_one_is_removed(api: Api) -> None:
    user = await api.user()
    poll = await api.poll(user, options=["a", "b"])
    picture = noise((120, 120))
    ok(await put(api, user, poll, 0, picture))
    refused = problem(await put(api, user, poll, 1, picture), "FORBIDDEN")
    assert str(IMAGE_BYTES) in refused["detail"]
    assert (await api.state(poll))["poll"]["options"][1]["imageUrl"] is None
    ok(await api.delete(f"/polls/{poll['id']}/options/{option_ids(poll)[0]}/image", user), 204)

    async def again() -> int:
        return (await put(api, user, poll, 1, picture)).status_code

    await eventually(again, lambda status: status == 200)  # files are deleted beside the answer


async def test_an_upload_that_is_refused_takes_nothing_of_the_quota(api: Api) -> None:
    user = await api.user()
    poll = await api.poll(user)
    for _ in range(5):
        problem(await put(api, user, poll, 0, b"no image"), "UNSUPPORTED_MEDIA")
    ok(await put(api, user, poll, 0, noise((120, 120))))
