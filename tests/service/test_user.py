"""The service of one user, on a booted machine, under that user's own manager."""

import json
from collections.abc import Iterator

import pytest

from tests.service.booted import Machine, Said, booted, needs_machine

pytestmark = needs_machine

SESSION = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/ann"}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine on which ann is logged in."""
    with booted() as made:
        made.ok("systemctl", "start", "user@1000.service")
        yield made


def ann(machine: Machine, *arguments: str) -> Said:
    """The command line, as ann."""
    return machine.stockade(*arguments, user="ann", **SESSION)


def test_it_is_installed_used_and_removed(machine: Machine) -> None:
    """Ready under the user's manager, a call runs, stopped and removed; no file of it is left."""
    installed = ann(machine, "service", "install", "--user", "--vault-root", "file")
    assert installed.status == 0, installed.err + machine.journal("user@1000.service")
    status = ann(machine, "service", "status", "--user", "--json")
    found = json.loads(status.out)
    assert (status.status, found["runs"]) == (0, True)
    assert found["stockaded.service"]["StatusText"] == "serves"
    policy = '@id("alone") permit (principal, action == Action::"call_unattended", resource);'
    machine.write("/home/ann/.config/stockade/policies/alone.cedar", policy)
    assert ann(machine, "policy", "apply").status == 0
    called = ann(machine, "call", "run_shell", "--arg", "command=echo mine")
    assert (called.status, called.out) == (0, "mine\n"), called.err
    folder = "/home/ann/.config/systemd/user"
    verified = machine.run(
        *("systemd-analyze", "--user", "--no-pager", "verify", f"{folder}/stockaded.service"),
        user="ann",
        **SESSION,
    )
    # What else the host's /usr brings for users is not ours to judge.
    assert verified.status == 0
    assert "stockaded" not in verified.err
    removed = ann(machine, "service", "uninstall", "--user", "--purge", "--yes")
    assert removed.status == 0, removed.err
    left = machine.ok("sh", "-c", "find /home/ann /run/user/1000 -name '*stockade*'")
    assert left == ""


def test_it_needs_a_session(machine: Machine) -> None:
    """Without a session there is no manager to be told anything, and nothing is written."""
    refused = machine.stockade("service", "install", "--user", user="ann", HOME="/home/ann")
    assert refused.status == 1
    assert "NO_SYSTEMD" in refused.err


def test_the_systems_service_is_roots(machine: Machine) -> None:
    """Another user is told so, and what would do instead."""
    refused = ann(machine, "service", "install")
    assert "NOT_ROOT" in refused.err
    assert machine.run("test", "-e", "/etc/systemd/system/stockaded.service").status == 1


@pytest.mark.parametrize("path", ["/a b", "/a%b", "/a:b", '/a"b', "/a\\b"])
def test_a_path_that_would_mean_more_in_a_unit_is_refused(machine: Machine, path: str) -> None:
    """A workspace is a path and nothing else: no specifier, second word or option of a mount."""
    refused = machine.run(
        "/opt/stockade/bin/stockade", "service", "install", "--workspace", f"/srv{path}"
    )
    assert refused.status == 2, refused
    assert machine.run("test", "-e", "/etc/systemd/system/stockaded.service").status == 1
