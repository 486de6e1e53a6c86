"""A daemon that starts without a valid policy set: it serves, denies every call, and says so."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import NotPermitted
from stockade.v1 import call_pb2
from tests.operating.acting import folder, join
from tests.promises.acting import add_tool, connect, policy_files, run
from tests.running import RunningDaemon, finished, make_directory, running

# Valid only while `count` of the tool `later` is a number.
NEEDS_LATER = (
    'forbid (principal, action == Action::"call", resource) when { context.arguments has later && '
    "context.arguments.later has count && context.arguments.later.count > 2 };"
)
COUNT = '[input.properties.count]\ntype = "integer"\n'


def retype(daemon: RunningDaemon, before: str, after: str) -> None:
    """Edits the tool on disk, as its author might."""
    manifest = daemon.home.tools / "later" / "manifest.toml"
    text = manifest.read_text()
    assert before in text
    manifest.write_text(text.replace(before, after))


@pytest.fixture
def daemon() -> Iterator[RunningDaemon]:
    with running() as started:
        with started.client() as client:
            add_tool(client, "plain", ["/bin/true"])
        yield started


def reason(client: Client) -> str:
    """What became of a call of a harmless tool."""
    return finished(run(client, "plain")).reason


def is_mended(client: Client) -> bool:
    return client.status().policy_state == "ok" and reason(client) == "SUCCEEDED"


@pytest.fixture
def broken(daemon: RunningDaemon) -> RunningDaemon:
    """The policies in force no longer fit a tool that was changed on the disk."""
    with daemon.client() as client:
        add_tool(client, "later", ["/bin/true"], rest=COUNT)
        client.apply_policy(policy_files(NEEDS_LATER))
    daemon.stop()
    retype(daemon, '"integer"', '"string"')
    return daemon.start()


def test_it_starts_denies_every_call_and_says_so(broken: RunningDaemon) -> None:
    """A reason code and the place of what is wrong: in the call, in status, in doctor."""
    with broken.client() as client:
        (denied,) = [one.finished for one in run(client, "plain") if one.HasField("finished")]
        assert (denied.state, denied.reason) == (call_pb2.CALL_STATE_DENIED, "NO_VALID_POLICY")
        assert "extra.cedar:1" in denied.message
        status = client.status()
        assert status.policy_state.startswith("NO_VALID_POLICY: extra.cedar:1")
        assert status.policy_version == 0
    shown = broken.cli("status")
    assert "NONE IN FORCE, so every call is denied: NO_VALID_POLICY" in shown.out
    doctor = broken.cli("doctor")
    assert doctor.status == 1
    assert "BAD  policy: NO_VALID_POLICY" in doctor.out
    assert "policy.invalid" in broken.log


def test_a_change_of_the_tool_mends_it(broken: RunningDaemon) -> None:
    """Whatever is changed, the set that should be in force is tried again."""
    with broken.client() as client:
        add_tool(client, "another", ["/bin/true"])
        assert reason(client) == "NO_VALID_POLICY"
        client.remove_tool("later")
        assert is_mended(client)
        assert {file.name for file in client.get_policy().files} >= {"extra.cedar", "calls.cedar"}


def test_what_stands_in_never_becomes_the_set_of_the_next_start(broken: RunningDaemon) -> None:
    """Changes meanwhile are kept; the set that should be in force is tried at every start."""
    with broken.client() as client:
        before = len(client.list_policy_versions().versions)
        client.change_entities([join("Tool/plain", "Toolset/mine")])
        client.set_device_groups(client.who_am_i().device.device_id, ["owners", "callers"])
        assert reason(client) == "NO_VALID_POLICY"
        assert len(client.list_policy_versions().versions) == before
        digest = client.status().policy_digest
        assert client.get_policy(digest).files[0].name == "no-valid-policy.cedar"
    broken.restart()
    with broken.client() as client:
        assert reason(client) == "NO_VALID_POLICY"
    broken.stop()
    retype(broken, '"string"', '"integer"')
    broken.start()
    with broken.client() as client:
        assert is_mended(client)


def _spoil(policies: Path, how: str) -> None:
    match how:
        case "unparsable":
            (policies / "extra.cedar").write_text("permit (")
        case "not utf-8":
            (policies / "extra.cedar").write_bytes(b"// \xff")
        case "empty":
            for path in policies.iterdir():
                path.unlink()
        case "of another thing":
            for path in policies.iterdir():
                path.rename(path.with_suffix(".json"))


@pytest.mark.parametrize("how", ["unparsable", "not utf-8", "empty", "of another thing"])
def test_the_very_first_start_with_a_folder_that_is_no_policy_set(how: str) -> None:
    """Nothing was ever in force: it starts, denies, says why, and takes the first valid set."""
    daemon = RunningDaemon(make_directory())
    try:
        assert daemon.init().returncode == 0
        _spoil(daemon.home.policies, how)
        daemon.start()
        with daemon.client() as client:
            add_tool(client, "plain", ["/bin/true"])
            assert reason(client) == "NO_VALID_POLICY"
            client.apply_policy(policy_files(""))
            assert is_mended(client)
            assert client.status().policy_version == 1
        daemon.restart()
        with daemon.client() as client:
            assert is_mended(client)
    finally:
        daemon.stop()
        shutil.rmtree(daemon.root, ignore_errors=True)


def test_only_the_device_of_its_machine_may_mend_it(daemon: RunningDaemon, tmp_path: Path) -> None:
    """Any other, an owner in the set that was, sees the state and no more, until it is valid."""
    other = daemon.pair_device("other", "owners")
    with daemon.client() as client:
        add_tool(client, "later", ["/bin/true"], rest=COUNT)
        client.apply_policy(policy_files(NEEDS_LATER))
    daemon.stop()
    retype(daemon, '"integer"', '"boolean"')
    daemon.start()
    with connect(other, daemon) as client:
        assert client.status().policy_state.startswith("NO_VALID_POLICY")
        assert reason(client) == "NO_VALID_POLICY"
        with pytest.raises(NotPermitted):
            client.apply_policy(policy_files(""))
    assert daemon.cli("policy", "apply", str(folder(tmp_path / "good"))).status == 0
    with connect(other, daemon) as client:
        assert client.status().policy_state == "ok"
