"""Promise 4: what the process tier is made of is taken away from a daemon. Nothing runs weaker."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises import unprivileged
from tests.promises.acting import ALONE, apply, kinds, receipts, run
from tests.running import RunningDaemon, finished, make_directory, output

needs_root = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="to take something from one daemon alone takes root and a namespace of its own",
)
ARGUMENTS = {"workspace": "work", "path": "hello.txt"}
REQUIRED = "[sandbox]\nrequire_cgroups = true\n"
HIDE = 'umount -l /sys/fs/cgroup && exec "$@"'
APART = ("unshare", "-m", "--propagation", "private")


@contextmanager
def daemon(config: str, wrapper: Sequence[str], owner: int = 0) -> Iterator[RunningDaemon]:
    """A daemon in namespaces of its own, in which everything that is permitted runs alone."""
    made = RunningDaemon(make_directory(), config, wrapper=tuple(wrapper))
    try:
        assert made.init().returncode == 0
        subprocess.run(["chown", "-R", f"{owner}:{owner}", str(made.root)], check=True)
        subprocess.run(["chown", "-R", "0:0", str(made.home.client)], check=True)  # the caller's
        made.start()
        with made.client() as client:
            apply(client, ALONE)
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.root, ignore_errors=True)


@needs_root
def test_where_cgroups_are_required_nothing_runs_without(workspace: Path) -> None:
    """Tier, what is missing, and what mends it: for status, call, command line and receipt."""
    with daemon(config_with(workspace) + REQUIRED, (*APART, "sh", "-c", HIDE, "sh")) as made:
        with made.client() as client:
            (tier,) = [one for one in client.status().tiers if one.name == "process"]
            assert [one.primitive for one in tier.missing] == ["control groups"]
            assert not tier.works
            events = run(client, "read_file", **ARGUMENTS)
            end = finished(events)
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
            assert "process tier" in end.message
            assert "control groups" in end.message
            assert "Delegate=yes" in end.fix
            assert not any(event.HasField("started") for event in events)
            assert kinds(client, events[0].call_id) == ["call.received", "call.denied"]
            assert receipts(client, events[0].call_id)[-1]["body"]["reason"] == "TIER_UNAVAILABLE"
        answer = made.cli("call", "read_file", "--args-json", "{}")
        assert answer.status in (10, 20)


@needs_root
def test_without_cgroups_every_limit_has_another_hold_and_the_receipt_names_it(
    workspace: Path,
) -> None:
    """Unless they are required: no limit is without a hold, and none claims a control group."""
    with (
        daemon(config_with(workspace), (*APART, "sh", "-c", HIDE, "sh")) as made,
        made.client() as client,
    ):
        events = run(client, "read_file", **ARGUMENTS)
        assert output(events) == b"hello\n"
        controls = _controls(client, events)
    held = {name: controls[name] for name in ("memory", "cpu", "pids", "swap")}
    assert all(held.values()), held
    assert "cgroup" not in " ".join(held.values())
    assert "RLIMIT" in held["memory"]


@needs_root
def test_cgroups_that_go_under_a_daemon_stop_its_calls(workspace: Path) -> None:
    """What had them when it was probed is refused without: also what was started ahead of them."""
    with daemon(config_with(workspace), APART) as made, made.client() as client:
        events = run(client, "read_file", **ARGUMENTS)  # from now on sandboxes wait
        if "cgroup" not in _controls(client, events)["memory"]:
            pytest.skip("no control groups can be written here")
        _inside(made, "-m", "umount", "-l", "/sys/fs/cgroup")
        for _ in range(2):
            _refused(client, run(client, "read_file", **ARGUMENTS), "CGROUPS_GONE")


@needs_root
def test_user_namespaces_that_are_switched_off_under_a_daemon(workspace: Path) -> None:
    """The kernel gives no more: the call is refused with the setting; the one before it ran."""
    apart = (sys.executable, "-I", unprivileged.__file__)
    config = config_with(workspace) + "[ready]\nper_profile = 0\n"
    outside = unprivileged.OUTSIDE + unprivileged.INSIDE
    with daemon(config, apart, outside) as made, made.client() as client:
        assert output(run(client, "read_file", **ARGUMENTS)) == b"hello\n"
        # A user namespace has that setting for itself: nobody else is touched.
        _inside(made, "-U", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces")
        events = run(client, "read_file", **ARGUMENTS)
        _refused(client, events, "USER_NAMESPACES_OFF")
        assert finished(events).fix == "sysctl -w user.max_user_namespaces=15000"


def _inside(made: RunningDaemon, *command: str) -> None:
    subprocess.run(["nsenter", "-t", str(made.pid), *command], check=True)


def _controls(client: Client, events: Sequence[call_pb2.CallEvent]) -> dict[str, str]:
    found = receipts(client, events[0].call_id)[-1]["body"]["controls"]
    return {name: str(one["achieved"]) for name, one in found.items()}


def _refused(client: Client, events: Sequence[call_pb2.CallEvent], code: str) -> None:
    """Told with tier, what is missing and what mends it; nothing ran; the receipt says so."""
    end = finished(list(events))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "TIER_UNAVAILABLE"), end
    assert f"process tier: {code}" in end.message
    assert end.fix
    assert output(list(events)) == b""
    last = receipts(client, events[0].call_id)[-1]
    assert (last["kind"], last["body"]["reason"]) == ("call.failed", "TIER_UNAVAILABLE")
