"""The service of the system, on a booted machine: installed, used, hurt, removed. In this order."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.acting import until
from tests.service.booted import Machine, booted, needs_machine

pytestmark = needs_machine

# What `systemd-analyze security` gave for the unit as it is; a change for the worse is a decision.
EXPOSURE = 2.7
ALONE = '@id("alone") permit (principal, action == Action::"call_unattended", resource);'
UNITS = "/etc/systemd/system"
FILES = (
    f"{UNITS}/stockaded.service",
    f"{UNITS}/stockaded.service.d",
    f"{UNITS}/stockaded.socket",
    "/etc/sysusers.d/stockade.conf",
    "/etc/tmpfiles.d/stockade.conf",
    "/etc/credstore.encrypted/stockade-vault-root",
    "/etc/stockade",
    "/var/lib/stockade",
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with the service installed, and a policy that lets calls run unattended."""
    with booted() as made:
        installed = made.stockade("service", "install", "--workspace", "/srv/notes")
        assert installed.status == 0, installed.err + made.journal()
        made.write("/etc/stockade/policies/alone.cedar", ALONE)
        assert made.stockade("policy", "apply").status == 0
        yield made


def call(machine: Machine, command: str, *options: str) -> str:
    """Runs a command by a tool; its output."""
    said = machine.stockade("call", "run_shell", "--arg", f"command={command}", *options)
    assert said.status == 0, said.err + machine.journal()
    return said.out


def begin(machine: Machine, command: str) -> str:
    """Begins a detached call; its id once it runs."""
    said = machine.stockade(
        "call", "run_shell", "--arg", f"command={command}", "--detach", "--json"
    )
    assert said.status == 0, said.err
    events = [json.loads(line) for line in said.out.splitlines()]
    assert events[-1]["event"] == "started"
    return str(events[0]["call_id"])


def kinds(machine: Machine, call_id: str) -> list[str]:
    """The kinds of a call's receipts."""
    said = machine.stockade("ledger", "show", call_id, "--json")
    return [str(json.loads(line)["canonical"]["kind"]) for line in said.out.splitlines()]


def sleeping(machine: Machine, seconds: str) -> bool:
    """Whether a `sleep` of so long is alive, wherever."""
    return machine.run("pgrep", "-x", "-f", f"sleep {seconds}").status == 0


def serves_again(machine: Machine) -> bool:
    return machine.property("ActiveState") == "active" and machine.stockade("status").status == 0


def test_the_unit_is_verified_and_hardened(machine: Machine) -> None:
    """systemd-analyze finds nothing wrong with the unit, and its exposure is what was recorded."""
    verified = machine.run("systemd-analyze", "--no-pager", "verify", "stockaded.service")
    assert (verified.status, verified.out, verified.err) == (0, "", "")
    judged = machine.ok("systemd-analyze", "--no-pager", "security", "stockaded.service")
    found = re.search(r"Overall exposure level for stockaded.service: (\S+)", judged)
    assert found is not None
    assert float(found[1]) <= EXPOSURE


def test_it_is_ready_when_started(machine: Machine) -> None:
    """The manager was told, by the daemon itself, that it serves; it is nobody's but its user's."""
    assert machine.property("SubState") == "running"
    assert machine.property("StatusText") == "serves"
    status = machine.stockade("service", "status", "--json")
    assert status.status == 0
    assert json.loads(status.out)["runs"] is True
    pid = machine.property("MainPID")
    of = machine.ok("sh", "-c", f"grep -E '^(Uid|CapBnd|NoNewPrivs)' /proc/{pid}/status")
    user = machine.ok("id", "-u", "stockade").strip()
    lines = {key: value.split() for key, value in (line.split(":") for line in of.splitlines())}
    assert lines["Uid"] == [user] * 4
    assert (lines["CapBnd"], lines["NoNewPrivs"]) == (["0000000000000000"], ["1"])


def test_its_environment_names_no_manager(machine: Machine) -> None:
    """A tool is told neither where the manager listens nor where credentials are."""
    names = {line.partition("=")[0] for line in call(machine, "env").splitlines()}
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "LISTEN_FDS"}


def test_the_vault_opens_by_the_credential(machine: Machine) -> None:
    """The root key comes encrypted from the credential store, and a secret reaches a tool by it."""
    status = json.loads(machine.stockade("status", "--json").out)
    assert status["vault"]["available"] is True
    assert status["vault"]["root"] == "systemd credential stockade-vault-root"
    stored = machine.run("/opt/stockade/bin/stockade", "secrets", "put", "token", stdin="value")
    assert stored.status == 0, stored.err
    on_disk = machine.run("grep", "-rlE", "^stockade-root", "/var/lib/stockade", "/etc/stockade")
    assert on_disk.out == ""


def test_a_call_runs_in_the_process_tier(machine: Machine) -> None:
    """Inside the hardened unit the sandbox is whole: the probe says so, and a call runs."""
    tiers = {
        one["name"]: one for one in json.loads(machine.stockade("status", "--json").out)["tiers"]
    }
    assert tiers["process"]["works"], tiers["process"]
    assert call(machine, "echo $((6*7))") == "42\n"


def test_the_other_tiers_are_refused_with_the_reason(machine: Machine) -> None:
    """There is no engine on this machine: its tiers do not work, and say what is missing."""
    tiers = {
        one["name"]: one for one in json.loads(machine.stockade("status", "--json").out)["tiers"]
    }
    for name in ("container", "gvisor"):
        assert not tiers[name]["works"]
        assert tiers[name]["missing"][0]["primitive"] == "Docker Engine"


def test_it_writes_only_where_it_was_told(machine: Machine) -> None:
    """Beside its own directories the daemon may write in the named workspace; /usr is read-only."""
    pid = machine.property("MainPID")
    seen = machine.ok("cat", f"/proc/{pid}/mountinfo")
    options = {line.split()[4]: line.split()[5].split(",") for line in seen.splitlines()}
    for path in ("/", "/usr"):
        assert "ro" in options[path], path
    for path in ("/srv/notes", "/var/lib/stockade", "/etc/stockade"):
        assert "rw" in options[path], path


def test_tools_are_added_in_the_unit(machine: Machine) -> None:
    """The operator's folder of tools can be written by the daemon, and the tool is run."""
    manifest = (
        'name = "hello"\nversion = "1"\nsummary = "s"\nargv = ["/bin/echo", "hello"]\n'
        '[input]\ntype = "object"\n[risk]\ndata_sensitivity = 0.1\n'
    )
    machine.write("/tmp/hello/manifest.toml", manifest)
    added = machine.stockade("tools", "add", "/tmp/hello")
    assert added.status == 0, added.err
    assert machine.stockade("call", "hello").out == "hello\n"


def test_a_reload_takes_what_can_change(machine: Machine) -> None:
    """`systemctl reload`: the file is read again; what needs a restart is named; it goes on."""
    pid = machine.property("MainPID")
    config = machine.ok("cat", "/etc/stockade/config.toml")
    changed = config.replace("[server]\n", "[server]\ndrain_seconds = 1\n").replace(
        "[calls]\n", "[calls]\nmax_running = 7\n"
    )
    machine.write("/etc/stockade/config.toml", changed)
    machine.ok("systemctl", "reload", "stockaded")
    assert until(lambda: "calls.max_running" in machine.property("StatusText"))
    assert machine.property("ActiveState") == "active"
    assert machine.property("MainPID") == pid
    assert call(machine, "echo on") == "on\n"


def test_a_reload_of_half_a_file_changes_nothing(machine: Machine) -> None:
    """A file that somebody is still writing is refused with the reason; the daemon serves on."""
    config = machine.ok("cat", "/etc/stockade/config.toml")
    machine.write("/etc/stockade/config.toml", config + "\n[server")
    machine.ok("systemctl", "reload", "stockaded")
    assert until(lambda: "was refused" in machine.property("StatusText"))
    assert call(machine, "echo on") == "on\n"
    machine.write("/etc/stockade/config.toml", config)
    machine.ok("systemctl", "reload", "stockaded")
    assert until(lambda: "was refused" not in machine.property("StatusText"))


def test_a_storm_of_reloads_is_survived(machine: Machine) -> None:
    """SIGHUP two hundred times at once: it serves, as the same process."""
    pid = machine.property("MainPID")
    machine.ok("sh", "-c", f"for i in $(seq 200); do kill -HUP {pid}; done")
    assert call(machine, "echo on") == "on\n"
    assert until(lambda: machine.property("ActiveState") == "active")
    assert machine.property("MainPID") == pid


def test_a_stuck_daemon_is_killed_and_started_again(machine: Machine) -> None:
    """The watchdog ends one whose loop stands still; its call is interrupted, once, and is dead."""
    machine.write(f"{UNITS}/stockaded.service.d/90-test.conf", "[Service]\nWatchdogSec=5\n")
    machine.ok("systemctl", "daemon-reload")
    machine.ok("systemctl", "restart", "stockaded")
    call_id = begin(machine, "sleep 4711")
    restarts = int(machine.property("NRestarts"))
    pid = machine.property("MainPID")
    machine.ok("kill", "-STOP", pid)
    assert until(lambda: int(machine.property("NRestarts")) > restarts, 180), machine.journal()
    assert until(lambda: serves_again(machine), 180), machine.journal()
    assert machine.property("MainPID") != pid
    assert not sleeping(machine, "4711")
    assert kinds(machine, call_id)[-1] == "call.interrupted"
    assert kinds(machine, call_id).count("call.interrupted") == 1
    assert call(machine, "echo back") == "back\n"


def test_a_daemon_that_works_is_left_alone(machine: Machine) -> None:
    """Under the same short watchdog a call that takes longer runs to its end."""
    restarts = machine.property("NRestarts")
    assert call(machine, "sleep 8; echo whole") == "whole\n"
    assert machine.property("NRestarts") == restarts
    machine.ok("rm", f"{UNITS}/stockaded.service.d/90-test.conf")
    machine.ok("systemctl", "daemon-reload")


def test_a_stop_lets_a_call_finish_that_nearly_has(machine: Machine) -> None:
    """`systemctl stop` tells the daemon alone, so what runs has the time of draining."""
    call_id = begin(machine, "sleep 0.5; echo done")
    machine.ok("systemctl", "stop", "stockaded")
    assert machine.property("Result") == "success"
    machine.ok("systemctl", "start", "stockaded")
    assert kinds(machine, call_id)[-1] == "call.succeeded"


def test_a_stop_ends_a_call_that_would_not(machine: Machine) -> None:
    """After the time of draining the call is cancelled and recorded; nothing of it is left."""
    call_id = begin(machine, "(setsid sleep 4712 &); sleep 4712")
    machine.ok("systemctl", "stop", "stockaded")
    assert machine.property("Result") == "success"
    assert not sleeping(machine, "4712")
    machine.ok("systemctl", "start", "stockaded")
    assert kinds(machine, call_id)[-1] == "call.cancelled"


def test_it_is_started_by_whoever_calls(machine: Machine) -> None:
    """With the socket unit, systemd listens: a call to a daemon that does not run starts it."""
    installed = machine.stockade("service", "install", "--socket", "--workspace", "/srv/notes")
    assert installed.status == 0, installed.err + machine.journal()
    verified = machine.run("systemd-analyze", "--no-pager", "verify", "stockaded.socket")
    assert (verified.status, verified.err) == (0, "")
    assert call(machine, "echo by a door") == "by a door\n"
    address = json.loads(machine.ok("cat", "/var/lib/stockade/daemon.json"))["address"]
    assert address == "127.0.0.1:7607"
    machine.ok("systemctl", "stop", "stockaded.service")
    assert machine.property("ActiveState") == "inactive"
    machine.ok("sh", "-c", "echo > /dev/tcp/127.0.0.1/7607 || true")
    machine.ok("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7607")
    assert until(lambda: serves_again(machine)), machine.journal()


def test_who_came_by_the_socket_is_known_by_address(machine: Machine) -> None:
    """Policy and receipts are told the caller's own address, not that of the door."""
    strangers = machine.run("openssl", "s_client", "-connect", "127.0.0.1:7607", stdin="")
    assert "BEGIN CERTIFICATE" in strangers.out
    call_id = begin(machine, "true")
    shown = machine.stockade("ledger", "show", call_id, "--json").out
    assert "stockade-door" not in shown
    assert "stockade-door" not in machine.journal()


def test_uninstalled_it_leaves_the_data(machine: Machine) -> None:
    """What was installed goes; data, configuration and root key stay, and are taken up again."""
    removed = machine.stockade("service", "uninstall")
    assert removed.status == 0, removed.err
    assert machine.property("LoadState") == "not-found"
    machine.ok("test", "-e", "/var/lib/stockade/stockade.db")
    again = machine.stockade("service", "install")
    assert again.status == 0, again.err + machine.journal()
    assert call(machine, "echo same") == "same\n"
    assert json.loads(machine.stockade("status", "--json").out)["vault"]["available"] is True


def test_purging_asks(machine: Machine) -> None:
    """Nothing is destroyed by a pipe that cannot answer."""
    refused = machine.stockade("service", "uninstall", "--purge")
    assert refused.status == 2
    assert serves_again(machine)


def test_purged_it_leaves_nothing(machine: Machine) -> None:
    """No file, unit, user, process or control group of it is there afterwards."""
    removed = machine.stockade("service", "uninstall", "--purge", "--yes")
    assert removed.status == 0, removed.err
    for path in FILES:
        assert machine.run("test", "-e", path).status == 1, path
    assert machine.run("id", "stockade").status == 1
    assert machine.property("LoadState") == "not-found"
    assert machine.run("pgrep", "-f", "stockaded serve").out == ""
    groups = machine.run("sh", "-c", f"find {_group(machine)} -name 'stockade*'").out
    assert groups == ""
    left = machine.run("sh", "-c", "find / -xdev -name '*stockade*' -not -path '/opt/*'").out
    assert {line for line in left.splitlines() if not line.startswith("/proc")} == set()


def _group(machine: Machine) -> Path:
    """The directory of the machine's own control group."""
    line = machine.ok("sh", "-c", "grep name=systemd /proc/1/cgroup || grep ^0:: /proc/1/cgroup")
    path = line.splitlines()[0].split(":")[2].removesuffix("/init.scope")
    v1 = machine.run("test", "-d", f"/sys/fs/cgroup/systemd{path}").status == 0
    return Path(f"/sys/fs/cgroup{'/systemd' if v1 else ''}{path}")
