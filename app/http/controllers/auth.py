"""Accounts and sessions over HTTP."""

from typing import Final

import msgspec
from starlette.requests import Request

from ...domain.users import (
    ChangePassword,
    DeleteAccount,
    Guest,
    Login,
    Refresh,
    Register,
    SessionView,
    UserView,
)
from ...domain.values import Camel
from ...services.accounts.accounts import Accounts
from ...services.accounts.sessions import Sessions
from ...services.voting.export import AccountExport
from ..middleware import Bearer, Reply, StreamReply, no_content, reply, streamed
from ..request import body, client_of, optional_body, page

_REGISTER: Final = msgspec.json.Decoder(Register)
_LOGIN: Final = msgspec.json.Decoder(Login)
_REFRESH: Final = msgspec.json.Decoder(Refresh)
_GUEST: Final = msgspec.json.Decoder(Guest)
_PASSWORD: Final = msgspec.json.Decoder(ChangePassword)
_DELETE: Final = msgspec.json.Decoder(DeleteAccount)


class Me(Camel):
    user: UserView


class SessionPage(Camel):
    """`nextCursor` is null at the end."""

    items: list[SessionView]
    next_cursor: str | None


class AuthController:
    def __init__(self, auth: Sessions, accounts: Accounts, export: AccountExport, bearer: Bearer) -> None:
        self._auth = auth
        self._accounts = accounts
        self._export = export
        self._bearer = bearer

    async def register(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(201, await self._auth.register(await body(request, _REGISTER), client_of(request)))

    async def login(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(200, await self._auth.login(await body(request, _LOGIN), client_of(request)))

    async def refresh(self, request: Request) -> Reply:
        self._bearer.optional(request)
        return reply(200, await self._auth.refresh(await body(request, _REFRESH), client_of(request)))

    async def guest(self, request: Request) -> Reply:
        self._bearer.optional(request)
        form = await optional_body(request, _GUEST)
        return reply(201, await self._auth.guest(form or Guest(), client_of(request)))

    async def logout(self, request: Request) -> Reply:
        await self._auth.logout(self._bearer.required(request))
        return no_content()

    async def me(self, request: Request) -> Reply:
        return reply(200, Me(UserView.of(self._bearer.required(request).user)))

    async def change_password(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        change = await body(request, _PASSWORD)
        return reply(200, await self._accounts.change_password(identity, change, client_of(request)))

    async def sessions(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        return reply(200, SessionPage(*await self._accounts.sessions(identity, *page(request))))

    async def end_session(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        await self._accounts.end_session(identity, request.path_params["session_id"])
        return no_content()

    async def end_all_sessions(self, request: Request) -> Reply:
        await self._accounts.end_all_sessions(self._bearer.required(request))
        return no_content()

    async def delete(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        form = await optional_body(request, _DELETE) or DeleteAccount()
        await self._accounts.delete(identity, form.password, client_of(request))
        return no_content()

    async def export(self, request: Request) -> StreamReply:
        return await streamed(self._export.of(self._bearer.required(request)))
