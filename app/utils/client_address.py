"""Which address a request comes from, and the networks that count as one client."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from .connection_table import client_key

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}")
_FORWARDED_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;,\s]*)', re.IGNORECASE)
_FORWARDED_PROTO: Final = re.compile(r'(?:^|;)\s*proto\s*=\s*"?(https?)"?\s*(?:;|$)', re.IGNORECASE)
MAX_ENTRIES: Final = 100

Headers = Iterable[tuple[bytes, bytes]]


class TrustedProxies:
    """Proxies whose ``X-Forwarded-For``, else ``Forwarded``, is believed."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, host: str) -> bool:
        address = _parse(host)
        return address is not None and self._trusted(address)

    def client_of(self, peer: str, headers: Headers) -> str:
        """The rightmost entry that is no trusted proxy; the leftmost if all are. ``peer`` if that entry is unreadable."""
        if not self.trusts(peer):
            return peer
        found: _Address | None = None
        for entry in reversed(_entries(headers)[-MAX_ENTRIES:]):
            found = _parse(entry)
            if found is None:
                return peer
            if not self._trusted(found):
                break
        return peer if found is None else str(found)

    def scheme_of(self, peer: str, headers: Headers) -> str | None:
        """``http`` or ``https`` as the nearest proxy saw it; None if it does not say, or is not trusted."""
        if not self.trusts(peer):
            return None
        said = _values(headers, b"x-forwarded-proto")
        if said:
            scheme = said[-1].lower()
        else:
            forwarded = _values(headers, b"forwarded")
            match = _FORWARDED_PROTO.search(forwarded[-1]) if forwarded else None
            scheme = match[1].lower() if match else ""
        return scheme if scheme in ("http", "https") else None

    def _trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def network_of(host: str) -> str:
    """The neighbourhood of an address: the /24 of an IPv4 address, the /64 of an IPv6 address."""
    key = client_key(host)
    return key.rpartition(".")[0] if "." in key else key


def shortened(host: str) -> str:
    """For logs: the /24 of an IPv4 address, the /48 of an IPv6 address."""
    address = _parse(host)
    if address is None:
        return ""
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _entries(headers: Headers) -> list[str]:
    """The addresses that proxies noted, the nearest last."""
    headers = list(headers)
    plain = _values(headers, b"x-forwarded-for")
    if plain:
        return plain
    found = []
    for value in _values(headers, b"forwarded"):
        match = _FORWARDED_FOR.search(value)
        found.append(match[1].strip('"') if match else "")
    return found


def _values(headers: Headers, name: bytes) -> list[str]:
    text = ",".join(value.decode("latin-1") for field, value in headers if field == name)
    return [value.strip() for value in text.split(",")] if text.strip() else []


def _parse(entry: str) -> _Address | None:
    match = _WITH_PORT.fullmatch(entry)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else entry.partition("%")[0])
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
