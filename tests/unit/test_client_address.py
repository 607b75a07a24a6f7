"""The client's address behind proxies, and the networks that share a budget."""

import ipaddress

import pytest

from app.utils.client_address import TrustedProxies, network_of, shortened
from app.utils.connection_table import client_key

PROXIES = TrustedProxies(
    tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"))
)


def client(peer: str, *headers: tuple[str, str]) -> str:
    return PROXIES.client_of(peer, [(name.encode(), value.encode("latin-1")) for name, value in headers])


XFF, FORWARDED = "x-forwarded-for", "forwarded"


@pytest.mark.parametrize(
    ("peer", "headers", "found"),
    [
        ("203.0.113.9", [(XFF, "198.51.100.1")], "203.0.113.9"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", [(XFF, "198.51.100.1")], "198.51.100.1"),
        ("::ffff:10.1.1.1", [(XFF, "198.51.100.1")], "198.51.100.1"),
        ("10.1.1.1", [(XFF, "1.1.1.1, 198.51.100.1, 10.2.2.2")], "198.51.100.1"),
        ("10.1.1.1", [(XFF, "1.1.1.1"), (XFF, "198.51.100.1"), (XFF, "10.2.2.2")], "198.51.100.1"),
        ("10.1.1.1", [(XFF, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
        ("10.1.1.1", [(XFF, "rubbish, 198.51.100.1")], "198.51.100.1"),
        ("10.1.1.1", [(XFF, "198.51.100.1, rubbish")], "10.1.1.1"),
        ("10.1.1.1", [(XFF, "rubbish, 10.2.2.2")], "10.1.1.1"),
        ("10.1.1.1", [(XFF, "198.51.100.1,")], "10.1.1.1"),
        ("10.1.1.1", [(XFF, "198.51.100.1:5555")], "198.51.100.1"),
        ("10.1.1.1", [(XFF, "[2001:db8::5]:5555")], "2001:db8::5"),
        ("10.1.1.1", [(XFF, "2001:db8::5")], "2001:db8::5"),
        ("2001:db8:1::9", [(XFF, "198.51.100.1")], "198.51.100.1"),
        ("10.1.1.1", [(FORWARDED, "for=198.51.100.1;proto=https")], "198.51.100.1"),
        ("10.1.1.1", [(FORWARDED, 'for=1.1.1.1, proto=https;For="[2001:db8::5]:80"')], "2001:db8::5"),
        ("10.1.1.1", [(FORWARDED, "for=unknown")], "10.1.1.1"),
        ("10.1.1.1", [(FORWARDED, "for=_hidden, for=10.2.2.2")], "10.1.1.1"),
        ("10.1.1.1", [(FORWARDED, "for=1.1.1.1"), (XFF, "198.51.100.1")], "198.51.100.1"),
    ],
)
def test_the_client_is_the_rightmost_entry_that_is_no_proxy(
    peer: str, headers: list[tuple[str, str]], found: str
) -> None:
    assert client(peer, *headers) == found


def test_without_proxies_nothing_is_trusted() -> None:
    assert not TrustedProxies(())
    assert TrustedProxies(()).client_of("10.1.1.1", [(b"x-forwarded-for", b"1.1.1.1")]) == "10.1.1.1"


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:198.51.100.1") == client_key("198.51.100.1") != client_key("198.51.100.2")


def test_the_network_of_log_ins_is_wider_in_ipv4() -> None:
    assert network_of("198.51.100.1") == network_of("198.51.100.200") != network_of("198.51.101.1")
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")


def test_logs_show_no_whole_address() -> None:
    assert shortened("198.51.100.77") == "198.51.100.0/24"
    assert shortened("2001:db8:1:2::3") == "2001:db8:1::/48"
    assert shortened("nonsense") == ""
