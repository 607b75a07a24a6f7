"""Which web pages may talk to this server: alike for CORS and for the WebSocket upgrade."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}


def origin_allowed(origin: str, host: str, allowed: Collection[str]) -> bool:
    """Whether ``origin`` names the server itself or is listed in ``allowed``.

    ``origin`` and ``host`` are the request's headers of those names. It names the server where host and port are
    equal, with http or https, a missing port being the scheme's own. ``null`` never matches.
    """
    asking = _origin(origin)
    if asking is None:
        return False
    scheme = asking[0]
    itself = scheme in _PORTS and _origin(f"{scheme}://{host}") == asking
    return itself or any(_origin(entry) == asking for entry in allowed)


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; none for what is no origin. Apps have schemes of their own, such as ``capacitor://localhost``."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
    if not parts.scheme or not parts.hostname or not plain:
        return None
    return parts.scheme, parts.hostname, _PORTS.get(parts.scheme, 0) if port is None else port
