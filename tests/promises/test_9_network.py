"""Promise 9: deny by default on the network. From inside a sandbox there is nobody to talk to."""

import json
import os
import socket
from collections.abc import Iterator

import pytest

from stockade.client import Client
from tests.promises.acting import ALONE, apply, run
from tests.running import RunningDaemon, finished, output

# Tries every address it is given and says what came of each.
DIAL = """
import json, socket
said = {}
for name, family, kind, address in json.loads(@TARGETS@):
    try:
        with socket.socket(family, kind) as link:
            link.settimeout(3)
            link.connect(tuple(address) if isinstance(address, list) else address)
            link.send(b"hello")
            said[name] = "reached"
    except OSError as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def client(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """An owner, with everything permitted unattended."""
    with shared_daemon.client() as client:
        apply(client, ALONE)
        yield client


def dial(client: Client, targets: list[tuple[str, int, int, object]]) -> dict[str, str]:
    code = DIAL.replace("@TARGETS@", repr(json.dumps(targets)))
    events = run(client, "run_python", code=code)
    assert finished(events).reason == "SUCCEEDED", output(events)
    said: dict[str, str] = json.loads(output(events))
    return said


def test_nothing_on_this_host_is_reached(client: Client, shared_daemon: RunningDaemon) -> None:
    """Not the daemon's own port, not a neighbour's listener on any loopback address, by any way."""
    daemon_port = int(shared_daemon.address.rpartition(":")[2])
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("0.0.0.0", 0)) as every,  # noqa: S104 - to be as reachable as can be
        socket.socket(socket.AF_INET, udp) as datagrams,
        socket.socket(socket.AF_UNIX, tcp) as abstract,
    ):
        datagrams.bind(("127.0.0.1", 0))
        name = f"\0stockade-test-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        targets: list[tuple[str, int, int, object]] = [
            ("daemon", socket.AF_INET, tcp, ["127.0.0.1", daemon_port]),
            ("neighbour", socket.AF_INET, tcp, list(four.getsockname())),
            ("any address", socket.AF_INET, tcp, ["127.0.0.1", every.getsockname()[1]]),
            ("mapped", socket.AF_INET6, tcp, ["::ffff:127.0.0.1", every.getsockname()[1]]),
            ("zero", socket.AF_INET, tcp, ["0.0.0.0", every.getsockname()[1]]),  # noqa: S104
            ("abstract", socket.AF_UNIX, tcp, name),
            ("outside", socket.AF_INET, tcp, ["192.0.2.1", 80]),
            ("outside udp", socket.AF_INET, udp, ["192.0.2.1", 53]),
        ]
        said = dial(client, targets)
        assert "reached" not in said.values(), said
        assert set(said) == {target[0] for target in targets}
        # UDP has no connection to refuse: what counts is that nothing arrives.
        dial(client, [("udp", socket.AF_INET, udp, list(datagrams.getsockname()))])
        for listener in (four, every, datagrams, abstract):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.recv(1) if listener is datagrams else listener.accept()


def test_there_is_no_interface_but_loopback(client: Client) -> None:
    """The sandbox's network has one interface, and no route leads anywhere."""
    script = "cut -d: -f1 /proc/net/dev | tail -n +3; cat /proc/net/route | tail -n +2"
    assert output(run(client, "run_shell", command=script)).split() == [b"lo"]


def test_no_name_is_resolved(client: Client) -> None:
    """There is no resolver to ask: a name leaks nothing."""
    code = (
        "import socket\n"
        "try: print('reached', socket.getaddrinfo('example.com', 80))\n"
        "except OSError as error: print('none')\n"
    )
    assert output(run(client, "run_python", code=code)) == b"none\n"


def test_the_network_cannot_be_made(client: Client) -> None:
    """No raw sockets, no new interfaces, no way back into the host's network namespace."""
    code = (
        "import os, socket\n"
        "said = []\n"
        "for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, 2)):\n"
        "    try: socket.socket(family, kind); said.append('made')\n"
        "    except OSError: said.append('refused')\n"
        "for path in ('/proc/1/ns/net', '/proc/self/ns/net'):\n"
        "    try:\n"
        "        fd = os.open(path, os.O_RDONLY)\n"
        "        import ctypes\n"
        "        libc = ctypes.CDLL(None)\n"
        "        said.append('joined' if libc.setns(fd, 0) == 0 else 'refused')\n"
        "    except OSError: said.append('refused')\n"
        "print(*said)\n"
    )
    assert output(run(client, "run_python", code=code)).split() == [b"refused"] * 4
