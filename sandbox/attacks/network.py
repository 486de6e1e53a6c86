"""Attacks over the network. Their targets listen on loopback, or in a namespace made for them."""

import socket

from sandbox.attacks.attack import Attack, Inside, Outside, Pair
from sandbox.attacks.listeners import listening, on_loopback, on_path
from sandbox.attacks.stage import Stage, beside_the_host, mounted, says

_DOOR = "/run/door"


async def _tcp(stage: Stage) -> Pair:
    return await _to_loopback(stage, "network.tcp", socket.SOCK_STREAM)


async def _udp(stage: Stage) -> Pair:
    return await _to_loopback(stage, "network.udp", socket.SOCK_DGRAM)


async def _to_loopback(stage: Stage, program: str, kind: socket.SocketKind) -> Pair:
    async with listening(on_loopback(kind)) as listener:
        given = {"port": listener.port, "token": stage.token}
        return await stage.pair(Inside(program, given), Outside(program, given), listener.effect)


async def _abstract(stage: Stage) -> Pair:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0stockade-{stage.token}")
    async with listening(sock) as listener:
        given = {"addresses": [f"@stockade-{stage.token}"], "token": stage.token}
        return await stage.pair(
            Inside("network.unix", given), Outside("network.unix", given), listener.effect
        )


async def _unix(stage: Stage) -> Pair:
    door = stage.folder("door") / "s"
    async with listening(on_path(door)) as listener:
        given = {"addresses": [str(door), f"/proc/1/root{door}", _DOOR], "token": stage.token}
        return await stage.pair(
            Inside("network.unix", given),
            Inside("network.unix", given, (mounted(door, _DOOR),)),
            listener.effect,
        )


async def _metadata(stage: Stage) -> Pair:
    given = {"token": stage.token}
    return await stage.pair(
        Inside("network.metadata", given),
        Outside("network.metadata", given, "namespaces"),
        says("answered", "could be"),
    )


_OUTSIDE = "run outside, as the user tools run as"
_NAMESPACES = "every capability over a network namespace of its own"

ATTACKS = (
    Attack("network.tcp", "reach a TCP listener of the host", _OUTSIDE, _tcp),
    Attack("network.udp", "reach a UDP listener of the host", _OUTSIDE, _udp),
    Attack("network.abstract", "reach an abstract Unix socket of the host", _OUTSIDE, _abstract),
    Attack("network.unix", "reach a Unix socket by its path", "the socket is mounted", _unix),
    Attack(
        "network.raw",
        "send a packet of its own making",
        _NAMESPACES,
        beside_the_host("network.raw", "a packet", how="namespaces"),
    ),
    Attack(
        "network.vsock",
        "get a socket that reaches the hypervisor",
        _OUTSIDE,
        beside_the_host("network.vsock", "bound"),
    ),
    Attack(
        "network.netlink",
        "see or change interfaces through netlink",
        _NAMESPACES,
        beside_the_host("network.netlink", "sees", "an address", how="namespaces"),
    ),
    Attack(
        "network.metadata",
        "reach 169.254.169.254, where clouds hand out credentials",
        f"{_NAMESPACES}, where the address is served",
        _metadata,
    ),
)
