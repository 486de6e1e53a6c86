"""Keeps a home of the version that runs, for later versions to be tested with.

`python -m tests.upgrades.keep 0.1` writes `fixtures/config-0.1.toml` (every key, as that version
had it) and `fixtures/home-0.1.backup` (a home in which something of every kind was done). Run it
once for a version; what is there is never written again.
"""

import sys
import tomllib
from pathlib import Path

from daemon.config_file import MANY, commented_config
from stockade.client import Client
from tests.approvals.leasing import give
from tests.attacks.enrolling import enroll_agent
from tests.daemon.test_config_file import uncommented
from tests.operating.acting import join
from tests.operating.test_backup_restore import WORDS, stockade
from tests.promises.acting import ask, policy_files, python_tool, run
from tests.running import RunningDaemon, finished, running

FIXTURES = Path(__file__).parent / "fixtures"
SECRET = "secret://global/kept"
VALUE = b"kept-by-an-earlier-version"
TELLS = "import os\nprint(len(os.environ['KEPT']))"
REST = f'[[secrets]]\nreference = "{SECRET}"\nenv = "KEPT"\n'
POLICY = """
@id("kept-alone") permit (principal, action == Action::"call_unattended", resource)
when { resource == Tool::"tells" };
@id("kept-secret") permit (principal, action == Action::"use_secret", resource)
when { context.tool == Tool::"tells" };
@id("kept-tag") forbid (principal, action == Action::"call", resource)
when { principal has name && principal.hasTag("barred") && context.clock.hour >= 0 };
"""


def every_key() -> str:
    """The commented file without its comments: each key with its default."""
    text = commented_config("file")
    for section, (_, name) in MANY.items():
        before, _, after = text.partition(f"# [{section}.{name}]\n")
        text = before + after.partition("\n\n")[2]
    return uncommented(text)


def live(daemon: RunningDaemon) -> None:
    """Something of every kind that a home can hold."""
    approver = daemon.pair_device("approver", "approvers")
    enroll_agent(daemon, "robot")
    with daemon.client() as owner, Client.open(approver) as yes:
        owner.put_secret(SECRET, VALUE)
        python_tool(owner, "tells", TELLS, rest=REST)
        owner.apply_policy(policy_files(POLICY))
        owner.change_entities([join("Tool/tells", "Toolset/mine")])
        assert finished(run(owner, "tells")).reason == "SUCCEEDED"
        assert finished(run(owner, "no_such_tool")).reason == "UNKNOWN_TOOL"
        give(owner, yes, "run_shell", uses=5, tied=False, command="true")
        ask(owner, "run_shell", detach=True, command="echo later")
        owner.checkpoint_ledger()


def keep(version: str) -> None:
    """Writes both."""
    config, home = FIXTURES / f"config-{version}.toml", FIXTURES / f"home-{version}.backup"
    if config.exists() or home.exists():
        sys.exit(f"{version} was kept already")
    text = every_key()
    tomllib.loads(text)
    config.write_text(text)
    with running() as daemon:
        live(daemon)
        daemon.stop()
        done = stockade(daemon, "backup", str(home))
        assert done.returncode == 0, done.stderr
    assert WORDS


if __name__ == "__main__":
    keep(sys.argv[1])
