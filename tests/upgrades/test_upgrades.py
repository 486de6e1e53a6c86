"""A home of an earlier version is this one's: restored, brought up, and all of it in force."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config import load_config, parse_config
from policy.bundle import Bundle
from policy.schema import compose, load_base
from tests.operating.test_backup_restore import stockade
from tests.promises.acting import run
from tests.running import RunningDaemon, finished, make_directory, output
from tests.upgrades.keep import FIXTURES, POLICY, VALUE

CONFIGS = sorted(FIXTURES.glob("config-*.toml"))
HOMES = sorted(FIXTURES.glob("home-*.backup"))


def test_there_is_a_home_of_each_version_that_there_was() -> None:
    """One configuration and one home each, kept by tests/upgrades/keep.py."""
    versions = {path.stem.removeprefix("config-") for path in CONFIGS}
    assert versions == {path.stem.removeprefix("home-") for path in HOMES}
    assert "0.1" in versions


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_key_of_an_earlier_version_is_still_known(path: Path) -> None:
    """No key was renamed or taken away, and no value that was a default is refused."""
    config = parse_config(path.read_bytes(), path.name)
    assert config.vault.root == "file"
    text = path.read_text()
    assert "keepalive_seconds" in text
    assert "denied_per_minute" in text


@pytest.fixture(scope="module", params=HOMES, ids=lambda path: path.stem)
def upgraded(request: pytest.FixtureRequest) -> Iterator[RunningDaemon]:
    """The home, restored by this version and served by it."""
    root = make_directory()
    root.rmdir()
    daemon = RunningDaemon(root, initialised=True)
    try:
        done = stockade(daemon, "restore", str(request.param))
        assert done.returncode == 0, done.stderr
        # Its certificate may have ended by now: `up` has it issued again.
        up = daemon.cli("up", "--detach")
        assert up.status == 0, up.err
        yield daemon
    finally:
        daemon.cli("down")
        shutil.rmtree(root, ignore_errors=True)


def test_its_configuration_and_policies_are_in_force(upgraded: RunningDaemon) -> None:
    """As they were written: nothing is reported as wrong, and the set is the one it had."""
    load_config(upgraded.home.config_file)
    with upgraded.client() as client:
        status = client.status()
        assert status.policy_state in ("", "ok")
        files = {one.name: one.text for one in client.get_policy().files}
        assert files["extra.cedar"] == POLICY
        assert "tells" in [one.name for one in client.list_tools().tools]


def test_its_tool_runs_with_its_secret(upgraded: RunningDaemon) -> None:
    """The vault opens, policy grants, the tool's copy is what it was."""
    with upgraded.client() as client:
        events = run(client, "tells")
    assert finished(events).reason == "SUCCEEDED", finished(events)
    assert output(events) == f"{len(VALUE)}\n".encode()


def test_who_was_paired_and_enrolled_is(upgraded: RunningDaemon) -> None:
    """The devices with their groups, and the agent of one."""
    with upgraded.client() as client:
        groups = {one.name: list(one.groups) for one in client.list_devices()}
        agents = [one.name for one in client.list_agents()]
    assert groups == {"local": ["owners"], "approver": ["approvers"]}
    assert agents == ["robot"]


def test_its_ledger_goes_on_and_verifies_from_its_first_receipt(upgraded: RunningDaemon) -> None:
    """With the keys of then; what this version adds is in the same chain."""
    file = str(upgraded.root / "exported.jsonl")
    assert upgraded.cli("ledger", "export", file).status == 0
    keys = str(upgraded.home.ledger_keys)
    verified = upgraded.cli("ledger", "verify", file, "--key", keys, "--json")
    assert verified.status == 0, verified.err
    kinds = [json.loads(line)["receipt"]["kind"] for line in Path(file).read_text().splitlines()]
    assert {"policy.applied", "secret.put", "call.denied"} <= set(kinds)
    assert kinds.count("daemon.started") >= 2


def test_the_default_policy_of_an_earlier_version_is_still_valid(upgraded: RunningDaemon) -> None:
    """Under today's schema: what was shipped then is what operators have."""
    with upgraded.client() as client:
        files = {one.name: one.text for one in client.get_policy().files}
    kept = {name: files[name] for name in files if name != "extra.cedar"}
    assert Bundle.build(kept, compose(load_base(), {})).policies
