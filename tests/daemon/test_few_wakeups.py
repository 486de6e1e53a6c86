"""Between daemon and client: nothing is sent, and nobody is woken, more often than it has to be."""

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.connection import Connection
from stockade.credentials import load_credentials
from stockade.v1 import call_pb2
from tests.running import RunningDaemon

CALLS = 12
CHUNK = 65_536
SECONDS = 60
SETTLES = 4
# Times a second: five, and sixteen where each who looks wakes it by itself.
AWAKE = 12


class Wire:
    """Passes a connection on, and counts the TLS records that the daemon sends."""

    def __init__(self, daemon: str) -> None:
        self._daemon = daemon
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.records = 0
        self._serves = threading.Thread(target=self._serve, daemon=True)
        self._serves.start()

    def close(self) -> None:
        """Takes no more connections; both ends of the one there was have gone."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for one
        self._serves.join(SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        # Either end may be gone in the middle of a word, or nobody comes.
        with suppress(OSError):
            self._pass_on()

    def _pass_on(self) -> None:
        outer, _ = self._listener.accept()
        host, _, port = self._daemon.rpartition(":")
        inner = socket.create_connection((host, int(port)))
        with outer, inner:
            asks = threading.Thread(target=_pass, args=(outer, inner), daemon=True)
            asks.start()
            self._answers(inner, outer)
            asks.join(SECONDS)

    def _answers(self, inner: socket.socket, outer: socket.socket) -> None:
        waiting = b""
        while data := inner.recv(CHUNK):
            waiting += data
            while len(waiting) >= 5 and len(waiting) >= (size := 5 + _length(waiting)):
                self.records += 1
                # Counted before it is passed on: whoever has it finds it counted.
                outer.sendall(waiting[:size])
                waiting = waiting[size:]
        outer.shutdown(socket.SHUT_WR)


def _length(record: bytes) -> int:
    return int(struct.unpack_from("!H", record, 3)[0])


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(shared_daemon: RunningDaemon) -> Iterator[Wire]:
    """A way to the daemon that is looked at."""
    made = Wire(shared_daemon.address)
    yield made
    made.close()


def test_a_denied_call_is_answered_in_one_piece(shared_daemon: RunningDaemon, wire: Wire) -> None:
    """All events of a call that is denied at once, and the end of its stream, are one record."""
    credentials = load_credentials(shared_daemon.home.client)
    seen: list[int] = []
    with Client(Connection(wire.address, credentials), credentials) as client:
        client.who_am_i()
        for _ in range(CALLS):
            before = wire.records
            events = list(client.call("no_such_tool", {}))
            assert events[-1].finished.state == call_pb2.CALL_STATE_DENIED
            seen.append(wire.records - before)
    # Now and then HTTP/2 has a word of its own to say.
    assert min(seen) == 1, seen


def test_a_call_that_ended_is_watched_to_its_end(shared_daemon: RunningDaemon) -> None:
    """Who watches a call that is over gets its events and then the end, with and without output."""
    with shared_daemon.client() as client:
        first = list(client.call("no_such_tool", {}))
        again = list(client.watch_call(first[0].call_id))
    assert [event.WhichOneof("event") for event in again] == ["received", "decision", "finished"]
    assert again[-1].finished.receipt == first[-1].finished.receipt


def waited_for(pid: int, name: str) -> list[str]:
    """What the daemon's threads of this name wait for: every file in the sets that they poll."""
    while True:
        # A thread or a file that has just gone.
        with suppress(FileNotFoundError, ProcessLookupError):
            return _waited_for(pid, name)


def _waited_for(pid: int, name: str) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        words = (task / "syscall").read_text().split()
        if (task / "comm").read_text().strip() != name or len(words) < 2:
            continue
        number = int(words[1], 16)
        polled = Path(f"/proc/{pid}/fd/{number}")
        if polled.is_symlink() and str(polled.readlink()) == "anon_inode:[eventpoll]":
            info = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
            numbers = re.findall(r"^tfd:\s*(\d+)", info, re.MULTILINE)
            found += [str(Path(f"/proc/{pid}/fd/{one}").readlink()) for one in numbers]
    return found


def test_no_thread_stands_between_a_request_and_who_waits_for_it(
    shared_daemon: RunningDaemon,
) -> None:
    """Connections are read by the thread that hands requests on, not by gRPC's pool of threads."""
    shared_daemon.descriptors()  # skips where they are not told
    with shared_daemon.client() as client:
        client.who_am_i()
        deadline = time.monotonic() + SECONDS
        while not (files := waited_for(shared_daemon.pid, "event_engine")):
            assert time.monotonic() < deadline, "gRPC has no such threads: docs/adr/0043 can go"
            time.sleep(0.01)
    assert not [file for file in files if file.startswith("socket:")]


def test_a_daemon_with_nothing_to_do_is_seldom_awake(daemon: RunningDaemon) -> None:
    """What it looks at from time to time it looks at together, a few times a second."""
    time.sleep(SETTLES)  # what a start has left to do, on a machine that has nothing else to do
    for _ in range(5):
        before, seconds = _switches(daemon.pid), 6
        time.sleep(seconds)
        awake = (_switches(daemon.pid) - before) / seconds
        if awake < AWAKE:
            break
    assert awake < AWAKE


def _switches(pid: int) -> int:
    """How often its event loop's thread has waited for something."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)[0])
