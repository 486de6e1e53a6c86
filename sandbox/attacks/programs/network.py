"""Attacks over the network: reach a listener outside, or make the network larger.

Everything is aimed at loopback. Where there is an interface besides it, that alone is the finding,
and no address beyond loopback is tried.
"""

import fcntl
import os
import socket
import struct
import threading

_SIOCSIFADDR, _SIOCSIFFLAGS, _UP = 0x8916, 0x8914, 1
_VSOCK = 40


def tcp(port: int, token: str) -> str:
    """Say the token to a TCP listener of the host's loopback."""
    return _say(socket.socket(socket.AF_INET, socket.SOCK_STREAM), ("127.0.0.1", port), token)


def udp(port: int, token: str) -> str:
    """Say the token to a UDP listener of the host's loopback."""
    return _say(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", port), token)


def unix(addresses: list[str], token: str) -> str:
    """Say the token to a Unix socket; a name that begins with @ is an abstract one."""
    refusals = []
    for address in addresses:
        name = "\0" + address[1:] if address.startswith("@") else address
        try:
            return _say(socket.socket(socket.AF_UNIX), name, token)
        except OSError as error:
            refusals.append(error.strerror or "error")
    return "refused: " + ", ".join(refusals)


def raw() -> str:
    """Send an echo request that this program made itself, and see it come back."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2)
        sock.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FE, 0, 1), ("127.0.0.1", 0))
        return f"a packet of its own came back: {len(sock.recv(100))} bytes"


def vsock() -> str:
    """Get at the socket family that reaches the hypervisor."""
    with socket.socket(_VSOCK, socket.SOCK_STREAM) as sock:
        sock.bind((0xFFFF_FFFF, 0xFFFF_FFFF))
        return f"bound to {sock.getsockname()}"


def netlink() -> str:
    """List interfaces through netlink, and give loopback another address."""
    foreign = [name for _, name in socket.if_nameindex() if name != "lo"]
    if foreign:
        return f"sees interfaces: {', '.join(foreign)}"
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(2)
        address = struct.pack("=HH", 8, 2) + socket.inet_aton("127.0.0.2")
        body = (
            struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex("lo")) + address
        )
        # RTM_NEWADDR, with NLM_F_REQUEST, ACK, CREATE and EXCL.
        sock.send(struct.pack("=IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        code = struct.unpack_from("=i", sock.recv(4096), 16)[0]
    return "an address was added" if code == 0 else f"refused: {os.strerror(-code)}"


def metadata(token: str) -> str:
    """Reach the address at which clouds hand out credentials, if need be by serving it first."""
    foreign = [name for _, name in socket.if_nameindex() if name != "lo"]
    if foreign:
        return f"could be reached by: {', '.join(foreign)}"
    try:
        _give_loopback("169.254.169.254")
        server = socket.create_server(("169.254.169.254", 8080))
        threading.Thread(target=_serve, args=(server, token), daemon=True).start()
    except OSError:
        pass  # the attempt below is the attack
    with socket.create_connection(("169.254.169.254", 8080), 2) as sock:
        return f"answered {sock.recv(100).decode()}"


def _serve(server: socket.socket, token: str) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(token.encode())


def _give_loopback(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        where = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("=16s16s8x", b"lo:1", where))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo:1", _UP))


def _say(sock: socket.socket, address: "object", token: str) -> str:
    with sock:
        sock.settimeout(2)
        sock.connect(address)  # type: ignore[arg-type]
        sock.send(token.encode())
        return f"acknowledged: {sock.recv(16).decode()}"
