"""What users do with their own account, over HTTP."""

from typing import Final

import msgspec
from starlette.requests import Request

from ...domain.users import ChangePassword, DeleteAccount, SessionView, SolvedChallenge
from ...domain.values import Camel
from ...services.accounts.accounts import Accounts
from ...services.voting.export import AccountExport
from ..abandoned import unless_gone
from ..middleware import Bearer, Reply, StreamReply, no_content, reply, streamed
from ..request import body, client_of, optional_body, page

_PASSWORD: Final = msgspec.json.Decoder(ChangePassword)
_PROOF: Final = msgspec.json.Decoder(SolvedChallenge)
_DELETE: Final = msgspec.json.Decoder(DeleteAccount)


class SessionPage(Camel):
    """`nextCursor` is null at the end."""

    items: list[SessionView]
    next_cursor: str | None


class AccountController:
    def __init__(self, accounts: Accounts, export: AccountExport, bearer: Bearer) -> None:
        self._accounts = accounts
        self._export = export
        self._bearer = bearer

    async def change_password(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        change = await body(request, _PASSWORD)
        work = self._accounts.change_password(identity, change, client_of(request))
        return reply(200, await unless_gone(request, work))

    async def prove(self, request: Request) -> Reply:
        identity = self._bearer.required(request)
        return reply(200, await self._accounts.prove(identity, (await body(request, _PROOF)).solution))

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
        await unless_gone(request, self._accounts.delete(identity, form.password, client_of(request)))
        return no_content()

    async def export(self, request: Request) -> StreamReply:
        return await streamed(self._export.of(self._bearer.required(request)))
