"""Where this server is reached from other devices."""

import ipaddress
from typing import Final

from starlette.requests import Request

from ...domain.errors import PollroomError
from ...domain.values import Camel
from ...utils.network_addresses import network_addresses
from ..middleware import Bearer, Reply, reply

_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on


class ServerAddresses(Camel):
    """`publicUrl`: null where `PUBLIC_URL` is not set. `addresses`: by which devices on the same network reach it."""

    public_url: str | None
    addresses: list[str]


class ServerController:
    """``host``: what the server listens on."""

    def __init__(self, bearer: Bearer, public_url: str | None, host: str) -> None:
        self._bearer = bearer
        self._public_url = public_url
        self._host = host

    async def show(self, request: Request) -> Reply:
        if self._bearer.required(request).user.guest:
            raise PollroomError("FORBIDDEN")
        local = request.scope.get("server")
        port = local[1] if local else None
        hosts = [] if port is None else self._hosts()
        addresses = [f"http://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]
        return reply(200, ServerAddresses(self._public_url, addresses))

    def _hosts(self) -> list[str]:
        if self._host in _ANY:
            return network_addresses()
        try:
            loopback = ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            loopback = self._host == "localhost"
        return [] if loopback else [self._host]
