"""The disk of the ledger: full, read-only. No record, no run."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.errors import StockadeError, Unavailable
from stockade.v1 import call_pb2, policy_pb2
from tests.attacks.conftest import ANYTHING
from tests.attacks.marks import GOOD
from tests.attacks.probing import ledger, receipts_of, sequence
from tests.attacks.starting import refused, serve
from tests.conftest import config_with
from tests.daemon.store.test_faults import fill
from tests.running import RunningDaemon, finished, make_directory, output


def mount(*arguments: str) -> None:
    """Mounts, or skips the test with the reason."""
    done = subprocess.run(
        ["mount", *arguments], check=False, capture_output=True, text=True, timeout=30
    )
    if done.returncode:
        pytest.skip(f"mounting a file system needs privileges: {done.stderr.strip()}")


@pytest.fixture
def small(workspace: Path) -> Iterator[RunningDaemon]:
    """A home, initialised, whose data directory is a file system of 6 MB."""
    made = RunningDaemon(make_directory(), config_with(workspace))
    made.home.data.mkdir()
    mount("-t", "tmpfs", "-o", "size=6m,mode=0711", "tmpfs", str(made.home.data))
    try:
        answer = made.init()
        assert answer.returncode == 0, answer.stderr
        yield made
    finally:
        made.stop()
        subprocess.run(["umount", "-l", str(made.home.data)], check=True, timeout=30)
        shutil.rmtree(made.root, ignore_errors=True)


def append(client: Client, call_id: str) -> call_pb2.CallEvent.Finished:
    """A call that leaves a line in the workspace."""
    arguments = {"command": f"echo {call_id} >> ran", "workspace": "work"}
    return finished(list(client.call("run_shell", arguments, call_id=call_id)))


def unhindered(daemon: RunningDaemon) -> Client:
    """The owner, whom policy lets run anything."""
    client = daemon.client()
    files = [*client.get_policy().files, policy_pb2.PolicyFile(name="a.cedar", text=ANYTHING)]
    client.apply_policy(files)
    return client


def test_a_full_disk_runs_nothing_and_loses_nothing(small: RunningDaemon, workspace: Path) -> None:
    """Without room for the receipt every call is refused and none runs; with room again they do."""
    ballast, ran = small.home.data / "ballast", workspace / "ran"
    ran.unlink(missing_ok=True)
    small.start()
    try:
        with unhindered(small) as client:
            first = new_call_id()
            assert append(client, first).state == call_pb2.CALL_STATE_SUCCEEDED
            fill(ballast)
            before, stored = sequence(client), ledger_reads(client)
            tried = [new_call_id() for _ in range(10)]
            for call_id in tried:
                with pytest.raises(Unavailable) as caught:
                    append(client, call_id)
                assert (caught.value.reason, caught.value.grpc_code) == (
                    "STORE_FULL",
                    "UNAVAILABLE",
                )
                assert "space" in caught.value.fix
            # Reading still works, and says what is the matter; changing anything else does not.
            assert client.status().ledger_state.startswith("STORE_FULL")
            assert output(list_of(client, first)) == b""
            for change in (
                lambda: client.put_secret("secret://global/late", b"value"),
                lambda: client.apply_policy(client.get_policy().files[:1]),
                lambda: client.export_ledger().__next__(),
            ):
                with pytest.raises(StockadeError) as refusal:
                    change()
                assert refusal.value.reason == "STORE_FULL"
            assert (sequence(client), ledger_reads(client)) == (before, stored)
            for call_id in tried:
                assert receipts_of(client, call_id) == []
            assert ran.read_text().split() == [first]

            ballast.unlink()

            # Without a restart; and an id that was refused was never used.
            for call_id in (tried[0], new_call_id()):
                assert append(client, call_id).state == call_pb2.CALL_STATE_SUCCEEDED
            assert client.status().ledger_state == "ok"
            assert ran.read_text().split()[:2] == [first, tried[0]]
            numbers = [receipt["seq"] for receipt in ledger(client)]
            assert numbers == list(range(1, len(numbers) + 1))
        verified(small)
    finally:
        ran.unlink(missing_ok=True)


def ledger_reads(client: Client) -> list[bytes]:
    """The newest receipts, read without leaving one."""
    return [receipt.canonical for receipt in client.read_ledger(page_size=500).receipts]


def list_of(client: Client, call_id: str) -> list[call_pb2.CallEvent]:
    """A call that ended, told again."""
    return list(client.watch_call(call_id))


def verified(daemon: RunningDaemon) -> None:
    """The whole ledger holds by its public key alone."""
    export = daemon.root / "export.ndjson"
    assert daemon.cli("ledger", "export", str(export)).status == 0
    keys = daemon.home.ledger_keys
    answer = daemon.cli("ledger", "verify", str(export), "--key", str(keys))
    assert answer.status == 0, answer.err


def test_a_disk_that_fills_while_tools_run(small: RunningDaemon, workspace: Path) -> None:
    """A call whose end cannot be recorded is not told as ended; the next start finds it."""
    ballast = small.home.data / "ballast"
    small.start()
    call_id = new_call_id()
    with unhindered(small) as client:
        arguments = {
            "command": "echo on; while test ! -e go; do sleep 0.05; done",
            "workspace": "work",
        }
        events = iter(client.call("run_shell", arguments, call_id=call_id))
        while not (event := next(events)).HasField("output"):
            assert not event.HasField("finished")
        fill(ballast)
        (workspace / "go").touch()
        rest: list[call_pb2.CallEvent] = []
        try:
            with pytest.raises(Unavailable) as caught:
                rest.extend(events)
        finally:
            (workspace / "go").unlink()
        assert not any(event.HasField("finished") for event in rest)
        assert caught.value.reason == "STORE_FULL"
    ballast.unlink()
    small.restart()
    with small.client() as client:
        end = finished(list(client.watch_call(call_id)))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_INTERRUPTED, "DAEMON_DIED")
        kinds = [receipt["kind"] for receipt in receipts_of(client, call_id)]
        assert kinds[-2:] == ["call.running", "call.interrupted"]


def test_a_disk_that_is_full_at_the_start(small: RunningDaemon) -> None:
    """No room to record that it started: it does not start, and says what to do."""
    ballast = small.home.data / "ballast"
    fill(ballast)
    assert "space" in refused(serve(small), "STORE_FULL")
    ballast.unlink()
    small.start()
    with small.client() as client:
        assert output(list(client.call("read_file", GOOD))) == b"hello\n"


def test_a_data_directory_that_is_read_only(small: RunningDaemon) -> None:
    """On a file system that became read-only it does not start; made writable again it does."""
    mount("-o", "remount,ro", str(small.home.data))
    answer = serve(small)
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    assert str(small.home.data) in answer.stderr
    assert "fix: " in answer.stderr
    mount("-o", "remount,rw", str(small.home.data))
    small.start()
    with small.client() as client:
        assert output(list(client.call("read_file", GOOD))) == b"hello\n"


def test_initialising_where_nothing_can_be_written(workspace: Path) -> None:
    """Init on a full file system says why, and can be run again once there is space."""
    made = RunningDaemon(make_directory(), config_with(workspace))
    made.home.data.mkdir()
    mount("-t", "tmpfs", "-o", "size=16k,mode=0711", "tmpfs", str(made.home.data))
    try:
        answer = made.init()
        assert answer.returncode == 2, answer.stderr
        assert "Traceback" not in answer.stderr
        assert "fix: " in answer.stderr
        mount("-o", "remount,size=6m", str(made.home.data))
        again = made.init()
        assert again.returncode == 0, again.stderr
        with made.start().client() as client:
            assert client.who_am_i().principal
    finally:
        made.stop()
        subprocess.run(["umount", "-l", str(made.home.data)], check=True, timeout=30)
        shutil.rmtree(made.root, ignore_errors=True)
