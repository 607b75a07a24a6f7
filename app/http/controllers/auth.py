"""Accounts and sessions over HTTP."""

from typing import Final

import msgspec
from starlette.requests import Request

from ...domain.users import Guest, Login, Refresh, Register, UserView
from ...domain.values import Camel
from ...services.accounts.challenges import Challenges
from ...services.accounts.sessions import Sessions, not_ours
from ..abandoned import unless_gone
from ..middleware import Bearer, Reply, no_content, reply
from ..request import body, client_of, optional_body

_REGISTER: Final = msgspec.json.Decoder(Register)
_LOGIN: Final = msgspec.json.Decoder(Login)
_REFRESH: Final = msgspec.json.Decoder(Refresh)
_GUEST: Final = msgspec.json.Decoder(Guest)


class Me(Camel):
    user: UserView


class AuthController:
    def __init__(self, auth: Sessions, challenges: Challenges, bearer: Bearer) -> None:
        self._auth = auth
        self._challenges = challenges
        self._bearer = bearer

    async def register(self, request: Request) -> Reply:
        self._bearer.optional(request)
        form = await body(request, _REGISTER)
        return reply(201, await unless_gone(request, self._auth.register(form, client_of(request))))

    async def login(self, request: Request) -> Reply:
        self._bearer.optional(request)
        form = await body(request, _LOGIN)
        return reply(200, await unless_gone(request, self._auth.login(form, client_of(request))))

    async def refresh(self, request: Request) -> Reply:
        identity = self._bearer.optional(request)
        if identity is not None and identity.own:
            raise not_ours()
        return reply(200, await self._auth.refresh(await body(request, _REFRESH), client_of(request)))

    async def guest(self, request: Request) -> Reply:
        self._bearer.optional(request)
        form = await optional_body(request, _GUEST)
        return reply(201, await self._auth.guest(form or Guest(), client_of(request)))

    async def challenge(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(200, self._challenges.new())

    async def logout(self, request: Request) -> Reply:
        await self._auth.logout(self._bearer.required(request))
        return no_content()

    async def me(self, request: Request) -> Reply:
        return reply(200, Me(UserView.of(self._bearer.required(request).user)))
