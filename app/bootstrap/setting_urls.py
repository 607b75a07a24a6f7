"""Settings that say where something is: text of the environment -> value. ``ValueError`` where it is none."""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from ..utils.client_address import Network

_HOST: Final = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_NODE: Final = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_CLUSTER: Final = re.compile(rf"rediss?\+cluster://([^@/?#]*@)?{_NODE}(?P<more>(,{_NODE})*)/?(\?.*)?")
_DATABASE_OPTIONS: Final = {"ssl": "(?i:true|false)", "ssl_ca": "/.+", "unix_socket": "/.+"}
_REDIS_OPTIONS: Final = {"db": "[0-9]+"}
_TLS_OPTIONS: Final = {
    "ssl_ca_certs": "/.+",
    "ssl_certfile": "/.+",
    "ssl_keyfile": "/.+",
    "ssl_check_hostname": "true|false",
    "ssl_cert_reqs": "none|optional|required",
}


def host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", text):
        raise ValueError
    return text


def _options(url: SplitResult, allowed: Mapping[str, str]) -> dict[str, str]:
    """Each at most once, with a value as its pattern says; files for TLS can be read."""
    pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True) if url.query else []
    options = dict(pairs)
    if url.fragment or len(options) < len(pairs):
        raise ValueError
    for name, value in pairs:
        file = name.startswith("ssl_") and value.startswith("/")
        if not re.fullmatch(allowed.get(name, "(?!)"), value) or (file and not os.access(value, os.R_OK)):
            raise ValueError
    return options


def database_url(text: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme in ("mysql", "mysql+aiomysql"):
        if not url.hostname or url.port == 0 or not re.fullmatch(r"/[^/]+", url.path):
            raise ValueError
        options = _options(url, _DATABASE_OPTIONS)
        if "ssl_ca" in options and options.get("ssl", "").lower() != "true":
            raise ValueError
        return "mysql+aiomysql" + text[len(url.scheme) :]
    # Each connection to ":memory:" would have a database of its own.
    if url.scheme != "sqlite+aiosqlite" or url.netloc or len(url.path) < 2 or url.path == "/:memory:":
        raise ValueError
    _options(url, {})
    return text


def redis_url(text: str) -> str | None:
    if not text:
        return None
    nodes = _CLUSTER.fullmatch(text)
    # Newer versions of urlsplit refuse brackets behind the first node.
    url = urlsplit(text if nodes is None else text[: nodes.start("more")] + text[nodes.end("more") :])
    scheme, _, cluster = url.scheme.partition("+")
    allowed = ({} if cluster else _REDIS_OPTIONS) | (_TLS_OPTIONS if scheme == "rediss" else {})
    options = _options(url, allowed)
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError
    if url.scheme in ("redis", "rediss"):
        if not url.hostname or url.port == 0 or not re.fullmatch(r"(/[0-9]*)?", url.path):
            raise ValueError
    elif url.scheme in ("redis+cluster", "rediss+cluster"):
        if nodes is None:
            raise ValueError
    elif url.scheme != "unix" or len(url.path) < 2:
        raise ValueError
    return text


def s3_endpoint(text: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    named = url.scheme in ("http", "https") and url.hostname and url.port != 0
    if not named or "@" in url.netloc or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError
    return f"{url.scheme}://{url.netloc}"


def public_url(text: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.query or url.fragment:
        raise ValueError
    return text.rstrip("/")


def jwks_url(text: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.fragment:
        raise ValueError
    return text


def brokers(text: str) -> tuple[str, ...]:
    named = tuple(broker.strip() for broker in text.split(",") if broker.strip())
    for broker in named:
        found = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", broker)
        if found is None or not 0 < int(found[1]) < 65_536:
            raise ValueError
    return named


def origins(text: str) -> frozenset[str]:
    named = frozenset(origin.strip().lower() for origin in text.split(",") if origin.strip())
    if not all(_ORIGIN.fullmatch(origin) for origin in named):
        raise ValueError
    return named


def hosts(text: str) -> frozenset[str]:
    named = frozenset(host.strip().lower() for host in text.split(",") if host.strip())
    if not all(_HOST.fullmatch(host) for host in named):
        raise ValueError
    return named


def networks(text: str) -> tuple[Network, ...]:
    named = (network.strip() for network in text.split(","))
    return tuple(ipaddress.ip_network(network, strict=False) for network in named if network)
