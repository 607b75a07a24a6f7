"""Option images over HTTP."""

from functools import partial
from typing import Final

from starlette.requests import Request

from ...domain.polls import OptionView
from ...domain.values import Camel
from ...services.polls.option_images import CONTENT_TYPE, MAX_BYTES, OptionImages
from ..middleware import Bearer, Reply, no_content, reply
from ..request import path_id, raw_body

BODY_SECONDS: Final = 60

# Names are never used twice. Whatever a browser might see in the bytes, it must neither run nor load anything.
_HEADERS: Final = [
    (b"content-type", CONTENT_TYPE.encode()),
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]


class OneOption(Camel):
    option: OptionView


class ImageController:
    def __init__(self, images: OptionImages, bearer: Bearer) -> None:
        self._images = images
        self._bearer = bearer

    async def put(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        read = partial(raw_body, request, MAX_BYTES, BODY_SECONDS)
        option_id = request.path_params["option_id"]
        return reply(200, OneOption(await self._images.put(identity, path_id(request), option_id, read)))

    async def delete(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        await self._images.remove(identity, path_id(request), request.path_params["option_id"])
        return no_content()

    async def show(self, request: Request) -> Reply:
        """Takes no token: pages load images without one."""
        return Reply(200, await self._images.read(request.path_params["name"]), _HEADERS)
