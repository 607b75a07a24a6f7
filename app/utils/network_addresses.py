"""The IPv4 addresses of this machine that other devices may reach it by."""

import fcntl
import socket
import struct
from contextlib import suppress
from typing import Final

_SIOCGIFADDR: Final = 0x8915
"""Linux: the address of an interface (netdevice(7))."""


def network_addresses() -> list[str]:
    """Without loopback and link-local ones, in the order of the interfaces; empty where the system does not tell."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith(("127.", "169.254."))]
