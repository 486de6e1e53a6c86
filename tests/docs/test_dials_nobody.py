"""Promise 10: the daemon dials nobody. Here because no other part's tests watch a whole daemon."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from stockade.client import Client
from tests.running import RunningDaemon

SAMPLE_SECONDS = 0.002


@contextmanager
def _watched(daemon: RunningDaemon) -> Iterator[set[tuple[str, int]]]:
    """The remote ends of connections that are not to one of the daemon's own ports.

    Sampled as fast as it goes: a connection that is made and gone within a sample is missed. They
    are told at the end: one may be seen before the port it came to is.
    """
    process, dialled, stop = psutil.Process(daemon.pid), set[tuple[str, int]](), threading.Event()
    listening, open_ = set[int](), set[tuple[int, str, int]]()

    def look() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            with suppress(psutil.Error):
                for one in process.net_connections(kind="inet"):
                    if one.status == psutil.CONN_LISTEN:
                        listening.add(one.laddr.port)
                    elif len(one.raddr):
                        open_.add((one.laddr.port, one.raddr.ip, one.raddr.port))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield dialled
    finally:
        stop.set()
        thread.join()
    assert listening, "nothing was seen of it"
    dialled.update((ip, port) for local, ip, port in open_ if local not in listening)


def test_the_daemon_dials_nobody(daemon: RunningDaemon) -> None:
    """Through calls, a pairing, a policy and a checkpoint, every connection is one it accepted."""
    daemon.descriptors()  # skips where they are not told
    with _watched(daemon) as dialled:
        for _ in range(3):
            assert daemon.cli("call", "list_files", "--arg", "workspace=work").status == 0
        daemon.pair_device("watcher", "auditors")
        assert daemon.cli("policy", "apply").status == 0
        assert daemon.cli("ledger", "checkpoint").status == 0
        assert daemon.cli("status").status == 0
    assert dialled == set()


def test_the_watch_sees_a_dial(daemon: RunningDaemon) -> None:
    """The other half: a process that does dial is seen."""
    with Client.open(daemon.home, by_socket=False) as client:
        client.status()
        me = psutil.Process()
        port = int(daemon.address.rpartition(":")[2])
        assert port in {c.raddr.port for c in me.net_connections(kind="inet") if len(c.raddr)}
