"""A route cannot be forgotten in the OpenAPI document: the server does not start then."""

import pytest
from starlette.routing import Route

from app.http.middleware import Reply, no_content
from app.http.openapi import Undescribed, openapi
from app.http.resource import Resource


async def nothing(request: object) -> Reply:
    return no_content()


def test_a_route_without_a_description_is_refused() -> None:
    with pytest.raises(Undescribed, match="GET /forgotten"):
        openapi([Route("/forgotten", Resource(GET=nothing))], "1")


def test_a_description_without_a_route_is_refused() -> None:
    with pytest.raises(Undescribed, match="POST /polls"):
        openapi([], "1")
