"""Addresses of cluster nodes, from the setting and from ``CLUSTER NODES``."""

import re
from collections.abc import Mapping
from typing import Any, Final

_URL: Final = re.compile(
    r"(?P<scheme>rediss?)\+cluster://(?P<user>[^@/?#]*@)?(?P<hosts>[^@/?#]+)/?(?P<query>\?.*)?"
)
_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")

Address = tuple[str, int]
Described = tuple[Address, Mapping[str, Any]]
"""A node and its description by another node: ``flags``, ``epoch``, ``slots``."""


def is_cluster(url: str) -> bool:
    return _URL.fullmatch(url) is not None


def addresses(url: str) -> list[Address]:
    """Parse ``redis+cluster://[user:password@]host[:port][,host[:port]…]`` (``rediss`` for TLS) or raise ``ValueError``."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError
    found = []
    for text in parts["hosts"].split(","):
        host = _HOST.fullmatch(text)
        if host is None or not 0 < int(host[2] or 6379) < 65536:
            raise ValueError
        found.append((host[1].strip("[]"), int(host[2] or 6379)))
    return found


def node_url(url: str, address: Address) -> str:
    """URL of one node, with the user, password and query of the cluster URL."""
    parts = _URL.fullmatch(url)
    assert parts is not None
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{parts['scheme']}://{parts['user'] or ''}{host}:{address[1]}{parts['query'] or ''}"


def described(nodes: Mapping[str, Mapping[str, Any]], asked: Address) -> list[Described]:
    """The parsed reply of ``CLUSTER NODES``, by address. Nodes without an address are left out."""
    found = []
    for name, node in nodes.items():
        host, _, port = name.rpartition(":")
        host = node["hostname"] or host or (asked[0] if "myself" in node["flags"] else "")
        if host and int(port) and "noaddr" not in node["flags"] and "handshake" not in node["flags"]:
            found.append(((host, int(port)), node))
    return found
