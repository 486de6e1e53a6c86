"""Whose requests are counted together before anybody has a name: by address.

An IPv6 address counts as its /64, since whoever has one has all of it. And how a peer is written,
so that one connection has one name, whoever looks at it. Pure; raises nothing.
"""

import ipaddress
from urllib.parse import unquote

# The origin of who came by a door of ours and is out again: from where is not known any more.
LEFT = "left"


def source_of(address: str) -> str:
    """The source of an address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def source_of_peer(peer: str) -> str:
    """The source of a peer as gRPC names it: "ipv4:192.0.2.1:1234", "ipv6:%5B::1%5D:1234"."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return source_of(unquote(rest).rpartition(":")[0].strip("[]"))


def peer_at(host: str, port: int) -> str:
    """A peer as gRPC names it, but for what it escapes, and without a scope.

    IPv4 that came by a socket of both is IPv4.
    """
    bare = host.partition("%")[0].removeprefix("::ffff:")
    return f"ipv6:[{bare}]:{port}" if ":" in bare else f"ipv4:{bare}:{port}"


def plain_peer(peer: str) -> str:
    """As `peer_at` has it: gRPC escapes what IPv6 addresses have, and tells the scope."""
    if not peer.startswith("ipv6:"):
        return peer
    bare = peer.replace("%5B", "[").replace("%5D", "]")
    if "%" not in bare:
        return bare
    return f"{bare.partition('%')[0]}{bare[bare.rindex(']') :]}"
