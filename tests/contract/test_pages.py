"""The files of the pages and ``GET /server``, as any client gets them. What the pages do is in ``tests/pages/``."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from tools.harness.http import Api, Person, ok, problem

pytestmark = pytest.mark.anyio

PAGES = ["/", "/p/K7MPRX", "/p/K7MPRX/screen", "/p/K7MPRX/embed", "/p/K7MPRX/check", "/host", "/host/abc"]
FRAMED = "/p/K7MPRX/embed"


class Links(HTMLParser):
    """Every address that a page loads, and whether it runs anything inline."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        found = named.get("src") or (named.get("href") if tag == "link" else None)
        if found:
            self.found.append(found)
        self.inline |= tag == "style" or (tag == "script" and "src" not in named)
        self.inline |= any(name == "style" or name.startswith("on") for name in named)


def policy(header: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for part in header.split(";") if (words := part.split())}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_html_under_a_strict_policy_and_loads_only_from_here(api: Api, path: str) -> None:
    page = await api.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    allowed = policy(page.headers["content-security-policy"])
    assert allowed["default-src"] == ["'none'"]
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == ["'self'"]
    assert allowed["frame-ancestors"] == (["*"] if path == FRAMED else ["'none'"])
    links = Links(page.text)
    assert links.found and not links.inline
    for link in links.found:
        assert not re.match(r"[a-z]+:|/", link), "an address that a sub-path would break"
        file = await api.get(urljoin(path, link))
        assert file.status_code == 200, link
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["x-content-type-options"] == "nosniff"


async def test_a_file_that_the_client_has_is_not_sent_again(api: Api) -> None:
    for path in ("/", "/pollroom.js", "/pollroom.d.ts"):
        for coding in ("gzip", "identity"):
            headers = {"accept-encoding": coding}
            first = await api.get(path, headers=headers)
            assert first.headers.get("content-encoding", "identity") == coding
            assert first.headers["vary"] == "Accept-Encoding"
            again = await api.get(path, headers=headers | {"if-none-match": f"W/{first.headers['etag']}"})
            assert again.status_code == 304 and not again.content
            assert again.headers["etag"] == first.headers["etag"]


async def test_a_page_of_before_an_update_gets_todays_files_and_keeps_none(api: Api) -> None:
    file = await api.get("/assets/0123456789ab/ui.js")
    assert file.status_code == 200
    assert file.headers["cache-control"] == "no-cache"


async def test_other_addresses_below_the_pages_stay_problem_documents(api: Api) -> None:
    for path in (
        "/p",
        "/p/K7MPRX/other",
        "/host/a/b",
        "/assets/x/nothing.js",
        "/assets/x/pages.py",
        "/pages.py",
    ):
        problem(await api.get(path), "NOT_FOUND")
    problem(await api.post("/"), "METHOD_NOT_ALLOWED")


async def test_server_tells_accounts_alone_where_it_is_reached(
    api: Api, owner: Person, guest: Person
) -> None:
    where = ok(await api.get("/server", owner))
    # The tests listen on loopback, which nobody else reaches.
    assert where == {"publicUrl": None, "addresses": []}
    problem(await api.get("/server", guest), "FORBIDDEN")
    problem(await api.get("/server"), "UNAUTHENTICATED")
