"""Which ``Host`` headers this server answers."""

from collections.abc import Collection


def host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether ``allowed`` lists the host of a ``Host`` header, in any case and with any port.

    An entry with a port allows that port alone. An entry that begins with a dot allows the domain and its subdomains.
    """
    host = host.lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    name = name.rstrip(".") or name
    if host in allowed or name in allowed:
        return True
    return any(entry.startswith(".") and (name == entry[1:] or name.endswith(entry)) for entry in allowed)
