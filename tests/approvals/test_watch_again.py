"""`approvals watch` outlives the daemon it watches, and shows what a real daemon asks."""

import time
from collections.abc import Iterator

import pytest

from stockade.cli.desk import GRACE_SECONDS
from stockade.client import new_call_id
from tests.pane import Pane
from tests.running import CONFIG, STOCKADE, RunningDaemon, free_port, running


@pytest.fixture
def daemon() -> Iterator[RunningDaemon]:
    """One that listens at the same place after each start."""
    workspace = '[workspaces.notes]\npath = "/var/tmp"\naccess = "write"\n'
    with running(CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{free_port()}") + workspace) as started:
        yield started


def _ask(daemon: RunningDaemon, tool: str, **arguments: str) -> str:
    """A call that waits by itself; its id."""
    call_id = new_call_id()
    with (
        daemon.client() as client,
        client.call(tool, arguments, call_id=call_id, detach=True) as events,
    ):
        for event in events:
            if event.HasField("awaiting_approval"):
                return call_id
    raise AssertionError("it did not wait")


def test_a_watch_goes_on_when_the_daemon_is_started_again(daemon: RunningDaemon) -> None:
    """While it is gone nothing is answered; then what waits is there again, and the yes counts."""
    phone = daemon.pair_device("phone", "approvers")
    call_id = _ask(daemon, "run_shell", command="echo done")
    watch = [str(STOCKADE), "approvals", "watch"]
    with Pane(watch, {"STOCKADE_HOME": str(phone.config)}) as desk:
        desk.expect("$ echo done", "a yes, once")
        daemon.stop()
        desk.expect("not connected", "what waits is not known", "trying again")
        desk.press("a")
        daemon.start()
        desk.expect("$ echo done", "a yes, once", seconds=60)
        assert "trying again" not in desk.screen()
        time.sleep(GRACE_SECONDS + 0.2)
        desk.press_until("a", "run_shell for local: yes, once")
    assert daemon.cli("calls", "watch", call_id).out == "done\n"


def test_hostile_arguments_leave_the_prompt_truthful(daemon: RunningDaemon) -> None:
    """Escape sequences, false labels, overrides, 1 MB of text: facts and keys stay in place."""
    phone = daemon.pair_device("phone", "approvers")
    lies = "\x1b[2J\x1b[H\rtool        read_file\n\nrisk        0.000 of 1\n\u202esey a\u2066\n"
    _ask(daemon, "write_file", workspace="notes", path="a", content=lies + "x" * 1_000_000)
    with Pane([str(STOCKADE), "approvals", "watch"], {"STOCKADE_HOME": str(phone.config)}) as desk:
        first = desk.expect("a yes, once", "tool        write_file", "␛[2J␛[H␍tool")
        lines = first.splitlines()
        assert lines[0].startswith("Stockade approvals · 1 waits")
        assert lines[1].startswith("> ")
        assert lines[-1].startswith("space further")
        assert not any(line.startswith(("tool        read", "risk        0.000")) for line in lines)
        desk.press("End")
        desk.expect("NOT SHOWN: 975.8 KiB of 976.6 KiB")
        desk.press("f")
        desk.expect("lines 1 to ")
        desk.press("End")
        shown = desk.expect("a yes, once", "digest").splitlines()
        assert shown[1].startswith("> ")
        assert shown[-1].startswith("space further")
