"""The commands about secrets, against a real daemon: they warn, name, seal and take away."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.pane import Pane
from tests.promises.acting import ALONE, apply, policy, python_tool, receipts, run, until
from tests.running import STOCKADE, RunningDaemon, finished, output

GRANT = 'permit (principal, action == Action::"use_secret", resource);'


@pytest.fixture(scope="module", autouse=True)
def _granted(owner: Client) -> Iterator[None]:
    apply(owner, ALONE + GRANT)
    yield
    apply(owner, "")


IN_A_WORKSPACE = '[input.properties.workspace]\ntype = "string"\n[workspace]\naccess = "read"\n'


def tool(client: Client, name: str, secret: str, code: str, more: str = "") -> None:
    rest = f'{more}[[secrets]]\nreference = "secret://global/{secret}"\nenv = "IT"\n'
    python_tool(client, name, code, rest=rest)


def test_what_expires_soon_is_warned_of(shared_daemon: RunningDaemon) -> None:
    """By the list, by status and by doctor; what has time is not."""
    daemon = shared_daemon
    for name, expires in (("soon_over", "1d"), ("has_time", "300d")):
        answer = daemon.cli("secrets", "put", name, "--expires", expires, stdin="value-Dd4")
        assert answer.status == 0, answer.err
    listed = daemon.cli("secrets", "list")
    assert "secret://global/soon_over expires" in listed.err + listed.out
    assert "secret://global/has_time expires" not in listed.err + listed.out
    entries = json.loads(daemon.cli("secrets", "list", "--json").out)["secrets"]
    warned = {one["reference"] for one in entries if one.get("expiring")}
    assert "secret://global/soon_over" in warned
    assert "secret://global/has_time" not in warned
    assert "secrets: 1 has expired or does soon" in daemon.cli("doctor").out
    assert "expire" in daemon.cli("status").out
    for moment in ("2001-01-01", "0d", "soon"):
        answer = daemon.cli("secrets", "put", "never", "--expires", moment, stdin="value-Dd4")
        assert answer.status != 0
        assert "Dd4" not in answer.out + answer.err


def test_a_value_is_sealed_where_no_daemon_is(shared_daemon: RunningDaemon, owner: Client) -> None:
    """With the key alone, for one name; what is handed in is what the tool gets."""
    key = shared_daemon.cli("secrets", "key").out.strip()
    sealed = subprocess.run(
        [STOCKADE, "secrets", "seal", "boxed", "--key", key],
        env={"PATH": "/usr/bin:/bin", "STOCKADE_HOME": "/nonexistent"},
        input=b"sealed-far-away-Gg6", capture_output=True, timeout=180, check=True,
    ).stdout  # fmt: skip
    assert b"Gg6" not in sealed

    def put(name: str) -> int:
        return subprocess.run(
            [STOCKADE, "secrets", "put", name, "--sealed"],
            env=shared_daemon.environ(), input=sealed,
            capture_output=True, timeout=180, check=False,
        ).returncode  # fmt: skip

    assert put("another_name") != 0
    assert put("boxed") == 0
    tool(owner, "unboxes", "boxed", "import os\nprint(os.environ['IT'][::-1])\n")
    assert output(run(owner, "unboxes")) == b"sealed-far-away-Gg6"[::-1] + b"\n"


def test_a_value_that_is_typed_is_not_shown(shared_daemon: RunningDaemon, owner: Client) -> None:
    """Asked for twice on a terminal, on which it is never seen; two that differ store nothing."""
    command = [str(STOCKADE), "secrets", "put", "typed"]
    home = {"STOCKADE_HOME": str(shared_daemon.root)}
    for again, status in (("value-Kk2", 2), ("value-Kk1", 0)):
        with Pane(command, home) as pane:
            pane.expect("value of secret://global/typed (hidden):")
            pane.write("value-Kk1\n")
            pane.expect("again:")
            pane.write(f"{again}\n")
            assert pane.ended() == status
            assert "Kk" not in pane.screen(scrolled=True)
        stored = {one.reference for one in owner.list_secrets(page_size=500).secrets}
        assert ("secret://global/typed" in stored) == (status == 0)
    tool(owner, "was_typed", "typed", "import os\nprint(os.environ['IT'][::-1])\n")
    assert output(run(owner, "was_typed")) == b"value-Kk1"[::-1] + b"\n"


@pytest.mark.parametrize(("how", "end"), [("--report", "SUCCEEDED"), ("--cancel-calls", "")])
def test_a_secret_is_revoked(
    shared_daemon: RunningDaemon, owner: Client, workspace: Path, how: str, end: str
) -> None:
    """Who has it is named, and goes on or is ended as was said; nobody else gets it."""
    name = f"revoked{how.replace('-', '_')}"
    shared_daemon.cli("secrets", "put", name, stdin="value-Ee5")
    gate = workspace / f"gate-{name}"
    code = "import os, time\nprint('up', flush=True)\n"
    code += f"while not os.path.exists('/workspace/{gate.name}'): time.sleep(0.05)\n"
    tool(owner, f"has_{name}", name, code, IN_A_WORKSPACE)
    with owner.call(f"has_{name}", {"workspace": "docs"}) as events:
        seen = []
        for event in events:
            seen.append(event)
            if b"up" in event.output.data:
                answer = shared_daemon.cli("secrets", "revoke", name, how)
                assert answer.status == 0, answer.err
                assert event.call_id in answer.out
                gate.touch()
    gate.unlink()
    assert finished(seen).reason == (end or "SECRET_REVOKED")
    again = finished(run(owner, f"has_{name}", workspace="docs"))
    assert (again.state, again.reason) == (call_pb2.CALL_STATE_DENIED, "SECRET_REVOKED")


def test_how_often_a_value_was_redacted_is_recorded(owner: Client) -> None:
    """In the receipt of the call's end."""
    owner.put_secret("secret://global/counted", b"counted-value-Ff7")
    tool(owner, "counts_out", "counted", "import os\nprint(os.environ['IT'], os.environ['IT'])\n")
    events = run(owner, "counts_out")
    assert output(events) == b"[redacted:counted] [redacted:counted]\n"
    assert receipts(owner, events[0].call_id)[-1]["body"]["redactions"] == 2


def test_what_is_kept_elsewhere_is_said_so(shared_daemon: RunningDaemon) -> None:
    """A name of another source is a name, and no place for a value."""
    answer = shared_daemon.cli("secrets", "put", "secret://source/team/token", stdin="value-Hh8")
    assert answer.status != 0
    assert "KEPT_ELSEWHERE" in answer.err
    assert "Hh8" not in answer.out + answer.err


def test_policy_can_forbid_a_source(owner: Client) -> None:
    """By the scope of its secrets, whatever else is permitted."""
    rest = '[[secrets]]\nreference = "secret://source/team/token"\nenv = "IT"\n'
    python_tool(owner, "asks_elsewhere", "print()\n", rest=rest)
    forbid = (
        'forbid (principal, action == Action::"use_secret", resource)'
        ' when { resource.scope == "source/team" };'
    )
    with policy(owner, ALONE + GRANT + forbid):
        end = finished(run(owner, "asks_elsewhere"))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")
    apply(owner, ALONE + GRANT)
    assert finished(run(owner, "asks_elsewhere")).reason == "UNKNOWN_SECRET"


def test_the_root_is_changed_while_calls_use_it(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """No call fails, and each gets the value: there is no moment in which neither root works."""
    owner.put_secret("secret://global/in_use", b"used-meanwhile-Jj9")
    tool(owner, "goes_on", "in_use", "import os\nprint(len(os.environ['IT']))\n")
    wrong: list[str] = []
    right: list[int] = []
    over = threading.Event()

    def call() -> None:
        with shared_daemon.client() as client:
            while not over.is_set():
                before = len(rotated)
                events = run(client, "goes_on")
                if output(events) != b"18\n":
                    wrong.append(finished(events).reason)
                else:
                    right.append(before)

    rotated: list[int] = []
    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        assert until(lambda: bool(right))
        for _ in range(3):
            answer = shared_daemon.cli("secrets", "rotate", "--root")
            assert answer.status == 0, answer.err
            rotated.append(answer.status)
        # At least one call has begun and ended after the last one; others did before the first.
        assert until(lambda: right[-1:] == [3])
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert not wrong


def test_removing_what_is_not_there_suggests_a_look(shared_daemon: RunningDaemon) -> None:
    """Whoever wants a secret away is not told to put one, but where the names are."""
    answer = shared_daemon.cli("secrets", "remove", "no-such-secret")
    assert answer.status == 1
    assert "UNKNOWN_SECRET" in answer.err
    assert "fix: `stockade secrets list`" in answer.err
