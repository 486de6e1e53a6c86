"""Whose connections are counted together, and where a door can be."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.doorway import _listen
from daemon.source import source_of, source_of_peer


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_source_is_an_address_or_a_64(one: str, other: str, together: bool) -> None:
    """Whoever has one address of an IPv6 /64 has all of them; IPv4 in IPv6 is IPv4."""
    assert (source_of(one) == source_of(other)) == together


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("ipv4:192.0.2.1:1234", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:1234", "2001:db8::/64"),
        ("ipv6:[2001:db8::1]:1234", "2001:db8::/64"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:1234", "192.0.2.1"),
        ("unix-abstract:somebody", "unix-abstract:somebody"),
    ],
)
def test_a_peer_of_grpcs_has_the_source_of_its_address(peer: str, source: str) -> None:
    """Its port, which is another each time, does not make it another."""
    assert source_of_peer(peer) == source


@given(st.text(max_size=60) | st.ip_addresses().map(str))
def test_any_text_has_a_source(text: str) -> None:
    """Whatever an address looks like, it is counted; a source is its own source's."""
    assert isinstance(source_of(text), str)


@pytest.mark.parametrize(
    ("host", "reached_by"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["localhost"]),
        ("[::1]", ["::1"]),
        ("0.0.0.0", ["127.0.0.1", "::1"]),  # noqa: S104 - what an operator may write
        ("[::]", ["127.0.0.1", "::1"]),
    ],
)
def test_a_door_is_where_the_daemon_listens(host: str, reached_by: list[str]) -> None:
    """Each way of writing `server.listen` has its door, for both kinds of address if for all."""
    with _listen(host) as listener:
        port = listener.getsockname()[1]
        for address in reached_by:
            with socket.create_connection((address, port), 5):
                pass
