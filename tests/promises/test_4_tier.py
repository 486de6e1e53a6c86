"""Promise 4: never a weaker sandbox. A tier that does not work refuses, and says why."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.running
from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import (
    ALONE,
    add_tool,
    apply,
    kinds,
    policy,
    receipts,
    run,
    sleepers,
)
from tests.running import RunningDaemon, finished, make_directory, running

CAN_MASK = (
    os.geteuid() == 0
    and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
)
needs_masking = pytest.mark.skipif(
    not CAN_MASK, reason="to hide bwrap from the daemon takes root and a mount namespace"
)
READ = ("read_file", "--arg", "workspace=work", "--arg", "path=hello.txt")
# What the daemon finds in the place of bubblewrap.
INSTEAD = {
    "nothing": "/dev/null",
    # A program that is there and succeeds proves nothing.
    "a program that does nothing": "/bin/true",
}


@pytest.fixture(scope="module", params=INSTEAD)
def crippled(
    request: pytest.FixtureRequest, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDaemon]:
    """A daemon in a mount namespace of its own, in which bwrap is something else."""
    wrapper = tmp_path_factory.mktemp("wrapper") / "stockaded"
    mask = f"mount --bind {INSTEAD[request.param]} /usr/bin/bwrap"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"exec unshare -m --propagation private sh -c '{mask} && exec \"$@\"' sh "
        f'{tests.running.STOCKADED} "$@"\n'
    )
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tests.running, "STOCKADED", wrapper)
        with running(config_with(workspace)) as daemon:
            patch.undo()  # this one has started; others of this module are whole
            with daemon.client() as client:
                apply(client, ALONE)
            yield daemon


@needs_masking
def test_without_bubblewrap_calls_are_refused(crippled: RunningDaemon) -> None:
    """No sandbox, no run: the call is denied with what is missing and what to do about it."""
    mark = f"300.{os.getpid()}1"
    with crippled.client() as client:
        events = run(
            client, "run_shell", command=f"echo ran > ran.txt; sleep {mark}", workspace="work"
        )
        end = finished(events)
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
        assert "process tier" in end.message
        assert end.fix
        assert not any(event.HasField("started") for event in events)
        assert kinds(client, events[0].call_id) == ["call.received", "call.denied"]
    assert not sleepers(mark)


@needs_masking
def test_without_bubblewrap_nobody_is_asked(crippled: RunningDaemon) -> None:
    """Nobody approves what could not run: the tier is looked at before a human is."""
    with crippled.client() as client:
        apply(client, "")
        try:
            end = finished(run(client, "run_shell", command="id"))
            assert end.reason == "TIER_UNAVAILABLE"
            assert not client.list_approvals(settled=True)
        finally:
            apply(client, ALONE)


@needs_masking
def test_the_command_line_exits_with_20(crippled: RunningDaemon) -> None:
    """The exit status of a missing tier is its own, and the fix is on the terminal."""
    answer = crippled.cli("call", "read_file", "--arg", "workspace=work", "--arg", "path=hello.txt")
    assert answer.status == 20
    assert answer.out == ""
    assert "TIER_UNAVAILABLE" in answer.err


@needs_masking
def test_the_status_says_what_is_missing(crippled: RunningDaemon) -> None:
    """The daemon itself runs, and says which tier does not work, why and what would help."""
    with crippled.client() as client:
        tiers = {tier.name: tier for tier in client.status().tiers}
    process = tiers["process"]
    assert not process.works
    assert process.missing
    assert all(missing.reason and missing.fix for missing in process.missing)


@needs_masking
def test_the_workspace_was_not_touched(crippled: RunningDaemon, workspace: Path) -> None:
    """What a refused call would have written was not written, by any way around the sandbox."""
    del crippled
    assert not (workspace / "ran.txt").exists()


@pytest.fixture
def apart(workspace: Path) -> Iterator[RunningDaemon]:
    """A running daemon in a mount namespace of its own, with everything in its place."""
    daemon = RunningDaemon(make_directory(), config_with(workspace), wrapper=("unshare", "-m"))
    try:
        yield daemon.start()
    finally:
        daemon.stop()
        shutil.rmtree(daemon.root, ignore_errors=True)


@needs_masking
def test_bubblewrap_vanishes_after_the_probe(apart: RunningDaemon) -> None:
    """What worked when probed and is gone at the call: refused as a missing tier, exit 20."""
    mask = ["mount", "--bind", "/dev/null", "/usr/bin/bwrap"]
    with apart.client() as client:
        apply(client, ALONE)
        subprocess.run(["nsenter", "-m", "-t", str(apart.pid), *mask], check=True)
        answer = apart.cli("call", *READ, "--json")
        call_id, end = answer.lines()[0]["call_id"], answer.lines()[-1]
        assert answer.status == 20
        assert (end["state"], end["reason"]) == ("failed", "TIER_UNAVAILABLE")
        assert "process tier: BWRAP_MISSING" in str(end["message"])
        assert end["fix"] == "apt-get install bubblewrap"
        last = receipts(client, str(call_id))[-1]
    assert (last["kind"], last["body"]["reason"]) == ("call.failed", "TIER_UNAVAILABLE")


@pytest.mark.parametrize(
    ("rest", "tier"),
    [
        ("", "container"),
        (
            "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n",
            "gvisor",
        ),
    ],
)
def test_a_risky_tool_never_runs_in_the_process_tier(owner: Client, rest: str, tier: str) -> None:
    """The tier follows the risk whatever policy permits; a missing one refuses the call."""
    works = {one.name: one.works for one in owner.status().tiers}
    everything = ALONE + "permit (principal, action, resource);"
    with policy(owner, everything):
        name = f"risky_{tier}"
        add_tool(owner, name, ["/bin/echo", "ran"], sensitivity="1.0", rest=rest)
        events = run(owner, name)
    end = finished(events)
    started = [event.started.tier for event in events if event.HasField("started")]
    if works.get(tier, False):
        assert started == [tier]
    else:
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
        assert tier in end.message
        assert started == []


def test_policy_raises_the_tier_of_a_harmless_call(owner: Client) -> None:
    """A forbid for the process tier sends the call up; it does not come down again."""
    text = 'forbid (principal, action == Action::"run_in_process", resource);'
    with policy(owner, ALONE + text):
        events = run(owner, "read_file", workspace="work", path="hello.txt")
    started = [event.started.tier for event in events if event.HasField("started")]
    assert "process" not in started
    if not started:
        assert finished(events).reason == "TIER_UNAVAILABLE"
