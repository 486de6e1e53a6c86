"""The copy of a tool that runs mount, written to after the daemon loaded it."""

import os
import threading
import time
from pathlib import Path

import pytest

from daemon.tools.compared import SETTLED_SECONDS
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, policy, python_tool, run
from tests.running import RunningDaemon, finished, output


@pytest.mark.parametrize("how", ["another content", "one file more", "gone"])
def test_a_copy_that_was_changed_on_disk_does_not_run(
    shared_daemon: RunningDaemon, how: str
) -> None:
    """What was judged and approved by its digest is what runs, or nothing does."""
    name = f"copied_{how.split()[0]}"
    with shared_daemon.client() as client, policy(client, ALONE):
        tool = python_tool(client, name, f"print('as it was: {how}')\n")
        assert output(run(client, name)).startswith(b"as it was")
        _change(shared_daemon.home.data / "tools" / tool.digest, how)
        events = run(client, name)
    end = finished(events)
    assert end.state == call_pb2.CALL_STATE_FAILED
    assert end.reason == ("SNAPSHOT_MISSING" if how == "gone" else "SNAPSHOT_CHANGED")
    assert end.fix
    assert not any(event.HasField("started") or event.HasField("output") for event in events)


def test_a_copy_that_was_compared_before_and_is_changed_later(
    shared_daemon: RunningDaemon,
) -> None:
    """Nor when it is known from earlier calls, and its length and times are as they were."""
    ways = ("another content", "the same length and times", "one file more", "gone")
    with shared_daemon.client() as client, policy(client, ALONE):
        tools = {
            how: python_tool(client, f"known_{number}", f"print('as it was: {number}')\n")
            for number, how in enumerate(ways)
        }
        time.sleep(SETTLED_SECONDS + 0.1)  # what is younger is compared each time
        for number, how in enumerate(ways):
            name = f"known_{number}"
            assert all(output(run(client, name)).startswith(b"as it was") for _ in range(2)), how
            _change(shared_daemon.home.data / "tools" / tools[how].digest, how)
            reason = finished(run(client, name)).reason
            assert reason == ("SNAPSHOT_MISSING" if how == "gone" else "SNAPSHOT_CHANGED"), how


def test_a_copy_that_changes_all_the_time(shared_daemon: RunningDaemon) -> None:
    """While the copy is written to and back as fast as can be, nothing else than it ever runs."""
    good, bad = b"print('as it was')\n", b"print('planted')\n\n"
    with shared_daemon.client() as client, policy(client, ALONE):
        tool = python_tool(client, "raced", good.decode())
        copy = shared_daemon.home.data / "tools" / tool.digest / "main.py"
        copy.parent.chmod(0o755)
        copy.chmod(0o644)
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                for content in (bad, good):
                    copy.write_bytes(content)
                    time.sleep(0.001)

        racer = threading.Thread(target=change)
        racer.start()
        try:
            seen = {output(run(client, "raced")) for _ in range(60)}
        finally:
            stop.set()
            racer.join()
    assert seen <= {b"as it was\n", b""}
    assert b"as it was\n" in seen


def _change(copy: Path, how: str) -> None:
    copy.chmod(0o755)
    match how:
        case "another content":
            (copy / "main.py").chmod(0o644)
            (copy / "main.py").write_text("print('planted')\n")
        case "the same length and times":
            main = copy / "main.py"
            main.chmod(0o644)
            before, folder, content = main.stat(), copy.stat(), main.read_bytes()
            main.write_bytes(content.replace(b"as it was", b"tampered!"))
            main.chmod(before.st_mode)
            os.utime(main, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.utime(copy, ns=(folder.st_atime_ns, folder.st_mtime_ns))
        case "one file more":
            (copy / "json.py").write_text("print('planted')\n")
        case _:
            copy.rename(copy.with_name(f"moved-{copy.name}"))
