"""Serves the pages: one HTML shell per kind of page, and the files that it loads.

Every address in a shell is relative, so that the pages work under a sub-path of a proxy. Files are read and compressed once.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from ..domain.errors import PollroomError
from ..http.middleware import Headers, Reply
from ..http.resource import Resource

_FOLDER: Final = Path(__file__).parent
_CLIENT: Final = ("pollroom.js", "pollroom.d.ts", "sha256.js")
_TYPES: Final = {
    ".js": b"text/javascript; charset=utf-8",
    ".ts": b"text/plain; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".json": b"application/json",
    ".svg": b"image/svg+xml",
}
_FOREVER: Final = (b"cache-control", b"public, max-age=31536000, immutable")
_REVALIDATE: Final = (b"cache-control", b"no-cache")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_SHELL: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<title>Pollroom</title>
<link rel="icon" href="{files}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{files}/base.css">
<link rel="stylesheet" href="{files}/{style}.css">
<link rel="modulepreload" href="{files}/preact.js">
<link rel="modulepreload" href="{files}/pollroom.js">
<link rel="modulepreload" href="{files}/ui.js">
<script type="module" src="{files}/{script}.js"></script>
</head>
<body data-page="{script}"{framed}>
<div id="app"></div>
<div id="status" class="unseen" role="status"></div>
<div id="alert" class="unseen" role="alert"></div>
<noscript>Pollroom needs JavaScript.</noscript>
</body>
</html>
"""


@dataclass(frozen=True)
class _Page:
    """``depth``: how many folders the address is below the pages' root."""

    path: str
    depth: int
    script: str
    style: str
    framed: bool = False


_PAGES: Final = (
    _Page("/", 0, "home", "home"),
    _Page("/p/{code}", 1, "phone", "phone"),
    _Page("/p/{code}/screen", 2, "screen", "screen"),
    _Page("/p/{code}/embed", 2, "phone", "phone", framed=True),
    _Page("/p/{code}/check", 2, "check", "phone"),
    _Page("/host", 0, "host", "host"),
    _Page("/host/{id}", 1, "host", "host"),
)


class _File:
    """A body with its compressed form and an entity tag for each."""

    def __init__(self, body: bytes, kind: bytes) -> None:
        self.kind = kind
        self._tag = hashlib.sha256(body).hexdigest()[:24]
        self._plain = body
        self._compressed = gzip.compress(body, 9, mtime=0)

    def reply(self, request: Request, headers: Headers) -> Reply:
        accepted = {
            coding.strip().lower()
            for coding in request.headers.get("accept-encoding", "").split(",")
            if not coding.replace(" ", "").endswith((";q=0", ";q=0.0"))
        }
        small = any(coding.partition(";")[0].strip() in ("gzip", "*") for coding in accepted)
        tag = f'"{self._tag}{"-gzip" if small else ""}"'
        headers = [*headers, (b"etag", tag.encode()), (b"vary", b"Accept-Encoding"), _NO_SNIFF]
        known = {
            each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")
        }
        if known & {tag, "*"}:
            unchanged = Reply(304, b"", headers)
            unchanged.headers = headers  # without the length of an empty body
            return unchanged
        headers.append((b"content-type", self.kind))
        if small:
            headers.append((b"content-encoding", b"gzip"))
        return Reply(200, self._compressed if small else self._plain, headers)


class Pages:
    """``images_url``: where browsers load option images, unless this server serves them."""

    def __init__(self, images_url: str | None) -> None:
        found = [path for path in sorted(_FOLDER.rglob("*")) if path.suffix in _TYPES]
        self._files = {path.name: _File(path.read_bytes(), _TYPES[path.suffix]) for path in found}
        self._version = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()[:12]
        images = "" if images_url is None else " {0.scheme}://{0.netloc}".format(urlsplit(images_url))
        self._policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            f"img-src 'self' data: blob:{images}; base-uri 'none'; form-action 'none'"
        )

    def routes(self) -> list[BaseRoute]:
        return [
            *(Route(page.path, self._shell(page)) for page in _PAGES),
            Route("/assets/{version}/{name}", Resource(GET=self._asset)),
            *(Route(f"/{name}", Resource(GET=self._client)) for name in _CLIENT),
        ]

    def _shell(self, page: _Page) -> Resource:
        files = "../" * page.depth + f"assets/{self._version}"
        framed = " data-framed" if page.framed else ""
        html = _SHELL.format(files=files, script=page.script, style=page.style, framed=framed)
        file = _File(html.encode(), b"text/html; charset=utf-8")
        policy = f"{self._policy}; frame-ancestors {'*' if page.framed else chr(39) + 'none' + chr(39)}"
        headers: Headers = [
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"no-referrer"),
            _REVALIDATE,
        ]

        async def show(request: Request) -> Reply:
            return file.reply(request, headers)

        return Resource(GET=show)

    async def _asset(self, request: Request) -> Reply:
        """The files of another version are not here: a page of before an update gets today's, and must ask again."""
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise PollroomError("NOT_FOUND")
        today = request.path_params["version"] == self._version
        return file.reply(request, [_FOREVER if today else _REVALIDATE])

    async def _client(self, request: Request) -> Reply:
        return self._files[request.url.path.rpartition("/")[2]].reply(request, [_REVALIDATE])
