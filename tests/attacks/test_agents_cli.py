"""`stockade agents` as a person and a program use it, against the running daemon."""

import hashlib
import json
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.credentials import load_credentials
from stockade.errors import CredentialsError
from stockade.home import Home
from tests.attacks.enrolling import enroll_agent, manifest_text, write_manifest
from tests.conftest import config_with
from tests.running import RunningDaemon, running

READ = ("read_file", "--arg", "workspace=work", "--arg", "path=hello.txt")


@pytest.fixture(scope="module")
def enrolled(shared_daemon: RunningDaemon) -> Home:
    """The home of an agent that the command line enrolled."""
    home = Home.under(shared_daemon.root / "build-home")
    file = write_manifest(shared_daemon.root, "build", 'tools = ["read_file", "run_shell"]')
    answer = shared_daemon.cli(
        "agents", "enroll", "build", "--manifest", str(file), "--home", str(home.config)
    )
    assert answer.status == 0, answer.err
    assert f"STOCKADE_HOME={home.config} stockade call" in answer.out
    return home


def test_what_was_enrolled_acts_as_the_agent(shared_daemon: RunningDaemon, enrolled: Home) -> None:
    """With STOCKADE_HOME set as it was told, the same command line is the agent."""
    told = json.loads(shared_daemon.cli("whoami", "--json", home=enrolled).out)
    assert told["principal"] == f"agent/{told['agent']['agent_id']}"
    assert told["agent"]["capabilities"]["tools"] == ["read_file", "run_shell"]
    assert "agent of     local" in shared_daemon.cli("whoami", home=enrolled).out
    assert shared_daemon.cli("call", *READ, home=enrolled).out == "hello\n"
    undeclared = shared_daemon.cli("call", "list_files", home=enrolled)
    assert undeclared.status == 10
    assert shared_daemon.cli("approvals", "list", home=enrolled).status == 1


def test_its_key_is_its_own_and_private(shared_daemon: RunningDaemon, enrolled: Home) -> None:
    """The key was made in the agent's home, readable by this user alone; it is not the device's."""
    path = enrolled.client / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(enrolled.client.stat().st_mode) == 0o700
    assert path.read_bytes() != (shared_daemon.home.client / "key.pem").read_bytes()


def test_it_is_listed_and_revoked_by_name(shared_daemon: RunningDaemon) -> None:
    """`agents list` shows it, `agents revoke` ends it; a program gets JSON of both."""
    file, home = write_manifest(shared_daemon.root, "brief"), shared_daemon.root / "brief-home"
    made = shared_daemon.cli(
        "agents", "enroll", "brief", "--manifest", str(file), "--home", str(home), "--json"
    )
    (answer,) = made.lines()
    agent = answer["agent"]
    assert isinstance(agent, dict)
    assert (answer["home"], answer["replaces"]) == (str(home), "")
    assert "PRIVATE" not in made.out
    listed = shared_daemon.cli("agents", "list", "--json").lines()
    assert agent["agent_id"] in {one["agent_id"] for one in listed}
    assert agent["agent_id"] in shared_daemon.cli("agents", "list").out
    assert shared_daemon.cli("agents", "revoke", "brief", "--json").status == 0
    after = shared_daemon.cli("call", *READ, home=Home.under(home))
    assert after.status == 1
    assert "AGENT_REVOKED" in after.err
    assert shared_daemon.cli("agents", "revoke", "brief").status == 1


def test_a_devices_home_is_no_agents(shared_daemon: RunningDaemon, enrolled: Home) -> None:
    """Credentials of a device, or of another agent, are not overwritten."""
    file = write_manifest(shared_daemon.root, "other")
    for home in (shared_daemon.home, enrolled):
        before = (home.client / "certificate.pem").read_bytes()
        answer = shared_daemon.cli(
            "agents", "enroll", "other", "--manifest", str(file), "--home", str(home.config)
        )
        assert "ALREADY_PAIRED" in answer.err
        assert (home.client / "certificate.pem").read_bytes() == before
    assert "other" not in {
        one["name"] for one in shared_daemon.cli("agents", "list", "--json").lines()
    }


def test_code_that_is_not_what_the_manifest_says_is_not_enrolled(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """A file beside the manifest with another digest is told, with the digest it has."""
    code, file = tmp_path / "elsewhere" / "main.py", tmp_path / "agent.toml"
    code.parent.mkdir()
    code.write_text("print('other')\n")
    file.write_text(manifest_text("coded"))
    command = ("agents", "enroll", "coded", "--manifest", str(file), "--home", str(tmp_path / "h"))
    digest = hashlib.sha256(code.read_bytes()).hexdigest()
    answer = shared_daemon.cli(*command)
    assert "AGENT_CODE_DIFFERS" in answer.err
    assert digest in answer.err
    file.write_text(manifest_text("coded").replace("0" * 64, digest))
    assert shared_daemon.cli(*command).status == 0


def test_an_agents_certificate_is_renewed_and_when_it_ended_enrolled_again(workspace: Path) -> None:
    """The client renews it like a device's; one that has run out says who can help."""
    text = config_with(workspace) + "[identity]\nagent_certificate_hours = 0.004\n"
    with running(text) as daemon:
        bot = enroll_agent(daemon, "brief")
        end = load_credentials(bot.home.client).lifetime()[1]
        with Client.open(bot.home) as client:
            while datetime.now(UTC) < end + timedelta(seconds=1):
                assert client.who_am_i().agent.agent_id == bot.id
                time.sleep(0.1)
        assert load_credentials(bot.home.client).agent_id == bot.id
        while datetime.now(UTC) < load_credentials(bot.home.client).lifetime()[1]:
            time.sleep(0.1)
        time.sleep(1)  # its last second belongs to it
        with pytest.raises(CredentialsError) as caught:
            Client.open(bot.home)
        assert caught.value.reason == "CERTIFICATE_EXPIRED"
        assert "stockade agents enroll" in caught.value.fix
        again = enroll_agent(daemon, "brief")
        assert again.id == bot.id
        with Client.open(bot.home) as client:
            assert client.who_am_i().agent.agent_id == bot.id
