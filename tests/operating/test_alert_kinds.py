"""Each kind of alert, from what really happens to a daemon to what is logged of it."""

import json
from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from tests.attacks import certificates
from tests.promises.acting import ALONE, add_tool, apply, ask, policy, python_tool, run, until
from tests.running import CONFIG, RunningDaemon, finished, running

BURST = 3
SECTION = f"""
[alerts]
denied_per_minute = {BURST}
strangers_per_minute = {BURST}
asked_per_minute = {BURST}
"""
GRAVE = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG + SECTION) as made:
        yield made


@pytest.fixture(scope="module")
def owner(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def told(daemon: RunningDaemon, rule: str) -> dict[str, object]:
    """The alert of that rule, once it is logged."""

    def found() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in daemon.log.splitlines() if '"alert"' in line]
        return [one for one in lines if one["event"] == "alert" and one["rule"] == rule]

    assert until(lambda: bool(found())), rule
    [alert] = found()
    return alert


def test_denials(daemon: RunningDaemon, owner: Client) -> None:
    """One principal that is refused again and again."""
    for _ in range(BURST):
        assert finished(run(owner, "no_such_tool")).reason == "UNKNOWN_TOOL"
    alert = told(daemon, "denied_burst")
    assert alert["severity"] == "warning"
    assert alert["subject"] == owner.who_am_i().principal


def test_failed_authentication(daemon: RunningDaemon) -> None:
    """Certificates that the authority signed and nobody registered, from one address."""
    shown = certificates.presented(certificates.own_authority(daemon))
    with certificates.client(daemon, shown) as stranger:
        for _ in range(BURST):
            with pytest.raises(StockadeError) as refused:
                stranger.who_am_i()
            assert refused.value.reason == "CERT_UNKNOWN"
    alert = told(daemon, "authentication_failed")
    assert (alert["severity"], alert["subject"]) == ("warning", "127.0.0.1")


def test_a_flood_of_questions(daemon: RunningDaemon, owner: Client) -> None:
    """One principal's calls ask people without end."""
    for _ in range(BURST):
        owner.cancel_call(ask(owner, "run_shell", detach=True, command="true").call_id)
    assert told(daemon, "approval_flood")["subject"] == owner.who_am_i().principal


def test_a_secret_refused(daemon: RunningDaemon, owner: Client) -> None:
    """A change of secrets that cannot be."""
    with pytest.raises(StockadeError):
        owner.put_secret("not a reference", b"value")
    alert = told(daemon, "secret_refused")
    assert (alert["severity"], alert["subject"]) == ("warning", owner.who_am_i().principal)
    assert "not a reference" not in daemon.log


def test_a_tier_lost(daemon: RunningDaemon, owner: Client) -> None:
    """A call that needs a tier which does not work here."""
    with policy(owner, ALONE):
        add_tool(owner, "grave", ["/bin/true"], sensitivity="1.0", rest=GRAVE)
        assert finished(run(owner, "grave")).reason == "TIER_UNAVAILABLE"
    assert told(daemon, "tier_lost")["severity"] == "critical"


def test_tampering(daemon: RunningDaemon, owner: Client) -> None:
    """A tool's copy that is not what was recorded."""
    apply(owner, ALONE)
    tool = python_tool(owner, "copied", "print('as it was')\n")
    copy = daemon.home.data / "tools" / tool.digest / "main.py"
    copy.parent.chmod(0o755)
    copy.chmod(0o644)
    copy.write_text("print('planted')\n")
    assert finished(run(owner, "copied")).reason == "SNAPSHOT_CHANGED"
    alert = told(daemon, "tampering")
    assert (alert["severity"], alert["subject"]) == ("critical", "SNAPSHOT_CHANGED")
