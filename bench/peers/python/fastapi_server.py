"""Votes over HTTP with FastAPI and redis.asyncio. Prints its port."""

from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from poll import Polls, Refused, user_of
from pydantic import BaseModel, Field
from serve import serve

app = FastAPI()
polls = Polls()
bearer = HTTPBearer()


class Vote(BaseModel):
    optionId: str
    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")


class Accepted(BaseModel):
    id: str
    pollId: str
    optionIds: list[str]
    seq: int
    castAt: str
    repeated: bool


async def current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    try:
        return user_of(credentials.credentials)
    except jwt.PyJWTError:
        raise HTTPException(401) from None


@app.post("/polls/{poll_id}/votes", status_code=201, response_model=Accepted)
async def vote(poll_id: str, vote: Vote, user: Annotated[str, Depends(current_user)]) -> Any:
    try:
        return await polls.cast(user, poll_id, vote.optionId, vote.id)
    except Refused as error:
        raise HTTPException(409, str(error)) from None


serve(app)
