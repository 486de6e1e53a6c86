"""Policy versions: every state is kept, shown, and can be gone back to; no fault changes any."""

import json
import threading
from pathlib import Path

import pytest

from policy.defaults import load_default_files
from stockade.client import Client
from stockade.errors import BadRequest, NotFound
from stockade.v1 import call_pb2
from tests.operating.acting import folder, in_folder, join, last_receipt, leave
from tests.promises.acting import add_tool, policy_files, run
from tests.running import RunningDaemon, finished

FORBID = '@id("no-shell") forbid (principal, action == Action::"call", resource == Tool::"later");'
COUNT = '[input.properties.count]\ntype = "{}"\n'
MORE_THAN_TWO = (
    'forbid (principal, action == Action::"call", resource) when { context.arguments has later && '
    "context.arguments.later has count && context.arguments.later.count > 2 };"
)


def test_every_state_has_a_number_and_says_why(owner: Client) -> None:
    """Policies, tools and entity data: each change of the digest is a version of its own."""
    owner.apply_policy(policy_files("// one"))
    add_tool(owner, "why", ["/bin/true"])
    owner.change_entities([join("Tool/why", "Toolset/mine")])
    owner.change_entities([leave("Tool/why", "Toolset/mine")])
    owner.remove_tool("why")
    versions = owner.list_policy_versions().versions
    numbers = [one.version for one in versions]
    assert numbers == sorted(numbers, reverse=True)
    assert [one.cause for one in versions[:5]] == [
        *("tools", "entities", "entities", "tools", "applied")
    ]
    assert versions[0].in_force
    assert versions[0].digest == versions[4].digest == owner.status().policy_digest
    assert owner.status().policy_version == versions[0].version
    assert len({one.digest for one in versions[:5]}) == 3
    assert len({one.files_digest for one in versions[:5]}) == 1


def test_a_version_is_shown_as_it_was(owner: Client) -> None:
    """Files, schema and entity data of a version, by its number or the beginning of its digest."""
    owner.apply_policy(policy_files("// then"))
    then = owner.get_policy()
    version = owner.list_policy_versions().versions[0]
    add_tool(owner, "shown", ["/bin/true"])
    owner.apply_policy(policy_files("// now"))
    for name in (str(version.version), then.digest, then.digest[:12]):
        found = owner.get_policy(name)
        assert (found.digest, found.schema) == (then.digest, then.schema)
        assert list(found.files) == list(then.files)
        assert json.loads(found.entities)["maintenance"] is False
    assert '"shown"' in owner.get_policy().schema
    assert '"shown"' not in then.schema
    owner.remove_tool("shown")


@pytest.mark.parametrize("name", ["0", "99999", "f" * 64, "deadbeef", "-1", "now", "1e3", "%"])
def test_there_is_no_such_version(owner: Client, name: str) -> None:
    """What names no version shows none and puts none in force."""
    before = owner.status().policy_digest
    for ask in (owner.get_policy, owner.rollback_policy):
        with pytest.raises(NotFound) as caught:
            ask(name)
        assert caught.value.reason == "UNKNOWN_POLICY"
    assert owner.status().policy_digest == before


def test_rollback_is_a_new_version_with_a_receipt(owner: Client) -> None:
    """Going back puts the old files in force at once, as a version that says so."""
    good = owner.apply_policy(policy_files("// good"))
    owner.apply_policy(policy_files('forbid (principal, action == Action::"call", resource);'))
    assert finished(run(owner, "run_shell", command="id")).reason == "FORBIDDEN"
    done = owner.rollback_policy(str(good.version))
    assert done.digest == good.digest == owner.get_policy().digest
    assert done.version == good.version + 2
    assert owner.list_policy_versions().versions[0].cause == "rolled back"
    body = last_receipt(owner, "policy.rolled_back")
    assert body["to"] == good.version
    assert body["policy_digest"] == body["to_digest"] == good.digest
    assert body["principal"] == owner.who_am_i().principal
    assert json.loads(done.receipt.canonical)["body"] == body


def test_rollback_without_a_name_is_to_the_last_other_files(owner: Client) -> None:
    """A tool that was added since is no other policy: one goes back past it."""
    owner.apply_policy(policy_files("// wanted"))
    owner.apply_policy(policy_files("// mistake"))
    add_tool(owner, "between", ["/bin/true"])
    owner.rollback_policy()
    assert "// wanted" in {file.text for file in owner.get_policy().files}
    owner.remove_tool("between")


def test_rollback_to_what_no_longer_fits_changes_nothing(owner: Client) -> None:
    """A set that takes an argument for a number is refused once it is text, with the place."""
    fits = owner.apply_policy(policy_files("// without it"))
    add_tool(owner, "later", ["/bin/true"], rest=COUNT.format("integer"))
    old = owner.apply_policy(policy_files(MORE_THAN_TWO))
    owner.rollback_policy(str(fits.version))
    add_tool(owner, "later", ["/bin/true"], rest=COUNT.format("string"))
    before = owner.status()
    with pytest.raises(BadRequest) as caught:
        owner.rollback_policy(str(old.version))
    assert caught.value.reason == "POLICY_INVALID"
    assert "extra.cedar:1" in caught.value.message
    assert owner.status().policy_digest == before.policy_digest
    assert owner.status().policy_version == before.policy_version
    owner.remove_tool("later")


def test_rollback_with_entity_data(owner: Client) -> None:
    """Groups and tags go back only when that is asked for; the maintenance switch never does."""
    before = owner.apply_policy(policy_files("// entities"))
    owner.change_entities([join("Group/night", "Group/operators")])
    owner.rollback_policy(str(before.version))
    assert len(owner.get_entities().memberships) == 1
    owner.set_maintenance(on=True)
    owner.rollback_policy(str(before.version), entities=True)
    assert not owner.get_entities().memberships
    assert owner.get_entities().maintenance
    owner.set_maintenance(on=False)


def test_a_refused_set_leaves_the_one_before_serving(owner: Client, tmp_path: Path) -> None:
    """Whatever is wrong with a set: nothing changes, no version is made, calls go on."""
    good = owner.apply_policy(policy_files("// serving"))
    for bad in ("permit (", "\u202e", 'permit (principal, action == Action::"x", resource);'):
        with pytest.raises(BadRequest) as caught:
            owner.apply_policy(in_folder(folder(tmp_path / "bad", bad)))
        assert caught.value.reason == "POLICY_INVALID"
        assert owner.status().policy_version == good.version
        events = run(owner, "read_file", workspace="work", path="hello.txt")
        assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED


def test_versions_survive_a_restart(daemon: RunningDaemon) -> None:
    """What was applied last is in force after a restart, with its number; so is entity data."""
    with daemon.client() as owner:
        applied = owner.apply_policy(policy_files(FORBID.replace("later", "run_shell")))
        changed = owner.change_entities([join("Group/night", "Group/operators")])
    daemon.restart()
    with daemon.client() as owner:
        assert owner.status().policy_version == changed.version == applied.version + 1
        assert owner.status().policy_digest == changed.policy_digest
        assert finished(run(owner, "run_shell", command="id")).reason == "FORBIDDEN"
        assert [one.child.id for one in owner.get_entities().memberships] == ["night"]


def test_a_tool_changed_while_the_daemon_was_down_is_a_version(daemon: RunningDaemon) -> None:
    """The schema follows the tools found at the start, and the history says that it did."""
    with daemon.client() as owner:
        add_tool(owner, "down", ["/bin/true"])
        before = owner.status().policy_version
    daemon.stop()
    manifest = daemon.home.tools / "down" / "manifest.toml"
    manifest.write_text(manifest.read_text() + '[input.properties.more]\ntype = "string"\n')
    daemon.start()
    with daemon.client() as owner:
        newest = owner.list_policy_versions().versions[0]
        assert (newest.version, newest.cause) == (before + 1, "start")
        assert newest.digest == owner.get_policy().digest
    daemon.restart()
    with daemon.client() as owner:
        assert owner.status().policy_version == before + 1


def test_the_command_line(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """history, show and rollback, for people and for programs."""
    at = folder(tmp_path / "policies", "// by hand")
    assert shared_daemon.cli("policy", "apply", str(at)).out.startswith("in force: version ")
    folder(at, "// by mistake")
    assert shared_daemon.cli("policy", "apply", str(at)).status == 0
    shown = shared_daemon.cli("policy", "history")
    assert shown.out.splitlines()[0].split() == ["version", "digest", "since", "why", "by"]
    versions = json.loads(shared_daemon.cli("policy", "history", "--json").out)["versions"]
    newest, before = versions[:2]
    assert (newest["cause"], newest["in_force"]) == ("applied", True)
    back = shared_daemon.cli("policy", "rollback")
    assert back.out.startswith(f"in force: version {newest['version'] + 1}, ")
    assert "// by hand" in shared_daemon.cli("policy", "show").out
    number = str(newest["version"])
    assert "// by mistake" in shared_daemon.cli("policy", "show", "--version", number).out
    assert shared_daemon.cli("policy", "rollback", "0").status == 1
    assert before["digest"] == shared_daemon.cli("policy", "show", "--json").lines()[0]["digest"]


def test_the_default_set_is_what_a_new_home_has(daemon: RunningDaemon) -> None:
    """The first version is what init wrote into the folder."""
    with daemon.client() as owner:
        [first] = owner.list_policy_versions().versions
        assert (first.version, first.cause, first.activated_by) == (1, "initialised", "stockaded")
        files = {file.name: file.text for file in owner.get_policy("1").files}
        assert files == load_default_files()


def test_a_revocation_does_not_wait_for_policies_to_be_read(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """Reading thousands of policies takes seconds: who is revoked meanwhile is out before that."""
    gone = shared_daemon.pair_device("gone", "callers")
    many = "".join(
        f'permit (principal == Device::"d{n}", action == Action::"call", resource) '
        f"when {{ context.clock.hour == {n % 24} }};\n"
        for n in range(9000)
    )
    applied: list[int] = []

    def apply_many() -> None:
        with shared_daemon.client() as other:
            applied.append(other.apply_policy(policy_files(many)).receipt.sequence)

    applying = threading.Thread(target=apply_many)
    with Client.open(gone) as device:
        me = device.who_am_i().device.device_id
        applying.start()
        revoked = owner.revoke_device(me).receipt.sequence
    applying.join(400)
    [last] = applied
    assert revoked < last
    owner.apply_policy(policy_files(""))
