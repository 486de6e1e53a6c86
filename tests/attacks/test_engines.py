"""Engines with published escapes are named by doctor, and refused if the operator says so."""

import os
import subprocess
from pathlib import Path

import pytest

from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import ALONE, apply, run
from tests.running import RunningDaemon, finished, make_directory

needs_masking = pytest.mark.skipif(
    os.geteuid() != 0, reason="to exchange bwrap for the daemon takes root and a mount namespace"
)
_OLD = """#!/bin/sh
[ "$1" = --version ] && echo bubblewrap 0.4.0 && exit
exec /usr/bin/bwrap.real "$@"
"""


def served_with_old_bubblewrap(workspace: Path, config: str) -> RunningDaemon:
    """A daemon whose bwrap works and says that it is of a version with a published escape."""
    root = make_directory()
    old, real = root / "bwrap", root / "bwrap.real"
    real.write_bytes(Path("/usr/bin/bwrap").read_bytes())
    old.write_text(_OLD.replace("/usr/bin/bwrap.real", str(real)))
    for path in (old, real):
        path.chmod(0o755)
    wrapper = root / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nmount --bind {old} /usr/bin/bwrap && exec "$@"\n')
    wrapper.chmod(0o755)
    apart = ("unshare", "-m", "--propagation", "private", str(wrapper))
    return RunningDaemon(root, config_with(workspace) + config, wrapper=apart)


@needs_masking
@pytest.mark.parametrize(
    ("config", "named", "works"),
    [
        ("", True, True),
        ("[sandbox]\nrefuse_known_escapes = true\n", True, False),
        (
            '[sandbox]\nrefuse_known_escapes = true\naccepted_escapes = ["CVE-2020-5291"]\n',
            False,
            True,
        ),
    ],
)
def test_an_engine_with_a_published_escape(
    workspace: Path, config: str, *, named: bool, works: bool
) -> None:
    """It is named with its fix; refused only if configured; and not if it was looked into."""
    daemon = served_with_old_bubblewrap(workspace, config)
    try:
        daemon.start()
        answer = daemon.cli("doctor")
        assert ("CVE-2020-5291" in answer.out) is named
        assert ("upgrade" in answer.out and "0.4.1" in answer.out) is named
        with daemon.client() as client:
            apply(client, ALONE)
            status = client.status()
            end = finished(run(client, "read_file", workspace="work", path="hello.txt"))
        tiers = {tier.name: tier for tier in status.tiers}
        (engine,) = [one for one in status.engines if one.name == "bubblewrap"]
        assert engine.version == "0.4.0"
        assert tiers["process"].works is works
        if works:
            assert end.state == call_pb2.CALL_STATE_SUCCEEDED
        else:
            assert end.reason == "TIER_UNAVAILABLE"
            assert "CVE-2020-5291" in end.message
            assert "upgrade bubblewrap to 0.4.1" in end.fix
    finally:
        daemon.stop()
        subprocess.run(["rm", "-rf", str(daemon.root)], check=True)


def test_an_escape_there_is_not_keeps_the_daemon_from_starting(workspace: Path) -> None:
    """A typing error in the list of accepted escapes is no acceptance of another."""
    daemon = RunningDaemon(
        make_directory(),
        config_with(workspace) + '[sandbox]\naccepted_escapes = ["CVE-2020-529"]\n',
    )
    try:
        with pytest.raises(AssertionError, match=r"sandbox\.accepted_escapes"):
            daemon.start()
    finally:
        subprocess.run(["rm", "-rf", str(daemon.root)], check=True)


def test_doctor_prints_the_table_of_controls(daemon: RunningDaemon) -> None:
    """Each control of each tier that works, what is requested, and by what it is enforced."""
    answer = daemon.cli("doctor", "--controls")
    assert "stockade doctor --controls" in daemon.cli("doctor").out
    rows = [row for row in daemon.cli("doctor", "--json").lines() if "control" in row]
    mine = {str(row["control"]): row for row in rows if row["tier"] == "process"}
    assert {"foreign_abis", "terminal_input", "swap", "tmp_files", "descriptors"} <= set(mine)
    assert all(row["requested"] for row in mine.values())
    assert mine["foreign_abis"]["achieved"]
    assert "Controls of the process tier" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
