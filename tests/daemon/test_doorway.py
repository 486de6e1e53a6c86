"""Whose connections are counted together, and where a door can be."""

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.doorway import Doorway, _listen, _visitor
from daemon.source import LEFT, peer_at, plain_peer, source_of, source_of_peer


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


@pytest.mark.parametrize(
    ("peer", "plain"),
    [
        ("ipv4:192.0.2.1:4000", "ipv4:192.0.2.1:4000"),
        ("ipv6:%5B2001:db8::1%5D:4000", "ipv6:[2001:db8::1]:4000"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4000", "ipv6:[fe80::1]:4000"),
        ("unix-abstract:somebody", "unix-abstract:somebody"),
    ],
)
def test_a_peer_of_grpcs_is_written_as_the_kernels_is(peer: str, plain: str) -> None:
    """Without what gRPC escapes, and without the scope: else nobody would know it again."""
    assert plain_peer(peer) == plain
    if peer.startswith("ipv6"):
        host, _, port = plain.removeprefix("ipv6:").rpartition(":")
        assert peer_at(f"{host.strip('[]')}%eth0", int(port)) == plain


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("192.0.2.1", "ipv4:192.0.2.1:4000"),
        ("::ffff:192.0.2.1", "ipv4:192.0.2.1:4000"),
        ("2001:db8::1", "ipv6:[2001:db8::1]:4000"),
    ],
)
def test_a_visitor_is_named_as_the_kernels_look_at_the_port_names_it(host: str, shown: str) -> None:
    """Also where one socket takes both: else its connection is taken for a stranger's, and cut."""
    assert _visitor(host, 4000).address == shown == peer_at(host, 4000)


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


async def heard_by_a_door(inner: Path) -> bytes:
    """What comes through a door from who listens behind it."""
    with socket.socket(socket.AF_UNIX) as behind:
        behind.bind(str(inner))
        behind.listen()
        behind.setblocking(False)

        async def greet() -> None:
            connection, _ = await asyncio.get_running_loop().sock_accept(behind)
            with connection:
                await asyncio.get_running_loop().sock_sendall(connection, b"welcome")

        async with anyio.create_task_group() as group:
            group.start_soon(greet)
            async with Doorway(group, None).open("127.0.0.1", inner) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                heard = await reader.read(100)
                writer.close()
            group.cancel_scope.cancel()
    return heard


async def origins_of_a_visitor(inner: Path) -> tuple[str, str, str]:
    """What a door says of who came by it: inside, and out again; and of somebody else's name."""
    with socket.socket(socket.AF_UNIX) as behind:
        behind.bind(str(inner))
        behind.listen()
        behind.setblocking(False)
        async with anyio.create_task_group() as group:
            doorway = Doorway(group, None)
            async with doorway.open("127.0.0.1", inner) as port:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                connection, name = await asyncio.get_running_loop().sock_accept(behind)
                peer = "unix-abstract:" + name[1:].decode()
                inside = doorway.origin_of(peer)
                writer.close()
                with connection:
                    await asyncio.get_running_loop().sock_recv(connection, 1)
            outside = doorway.origin_of(peer)
            group.cancel_scope.cancel()
    return inside, outside, doorway.origin_of("unix-abstract:stockade-door-" + 48 * "0")


def test_whoever_has_left_a_door_has_no_address(tmp_path: Path) -> None:
    """Nor one that could be taken for somebody's; and a door knows its own names alone."""
    inside, outside, other = asyncio.run(origins_of_a_visitor(tmp_path / "inner"))
    assert inside.startswith("ipv4:127.0.0.1:")
    assert outside == LEFT
    assert other.startswith("unix-abstract:")


def test_no_neighbour_takes_the_names_behind_a_door(tmp_path: Path) -> None:
    """Abstract names are anybody's on this machine: all that could be guessed are taken."""
    with ExitStack() as squat:
        for number in range(1, 200):
            taken = squat.enter_context(socket.socket(socket.AF_UNIX))
            taken.bind(f"\0stockade-door-{os.getpid()}-{number}")
        assert asyncio.run(heard_by_a_door(tmp_path / "inner")) == b"welcome"
