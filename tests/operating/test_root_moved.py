"""The root key moves to another kind of place and back by the command line, while calls go on."""

from collections.abc import Iterator

import pytest

from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, apply, python_tool, run
from tests.running import RunningDaemon, finished, output, running

WORDS = "correct horse battery staple"
GRANT = 'permit (principal, action == Action::"use_secret", resource);'
REST = '[[secrets]]\nreference = "secret://global/token"\nenv = "IT"\n'


@pytest.fixture
def daemon() -> Iterator[RunningDaemon]:
    """Its root is in a file; a tool is granted a secret."""
    with running() as made:
        with made.client() as client:
            client.put_secret("secret://global/token", b"twelve-bytes")
            python_tool(client, "needs", "import os\nprint(len(os.environ['IT']))\n", rest=REST)
            apply(client, ALONE + GRANT)
        yield made


def uses(daemon: RunningDaemon) -> str:
    """How a call ends that needs the secret."""
    with daemon.client() as client:
        events = run(client, "needs")
    end = finished(events)
    if end.state == call_pb2.CALL_STATE_SUCCEEDED:
        assert output(events) == b"12\n"
    return end.reason


def test_to_a_passphrase_and_back(daemon: RunningDaemon) -> None:
    """Without a restart each way; under a passphrase each start waits for it, and for no other."""
    data = daemon.home.data
    moved = daemon.cli("secrets", "rotate", "--root", "--to", "passphrase", stdin=WORDS)
    assert moved.status == 0, moved.err
    assert uses(daemon) == "SUCCEEDED"
    assert 'root = "passphrase"' in daemon.home.config_file.read_text()
    assert not list(data.glob("vault.root*"))
    (sealed,) = data.glob("vault.passphrase*")
    assert b"stockade-root" not in sealed.read_bytes()
    daemon.restart()
    assert uses(daemon) == "VAULT_UNAVAILABLE"
    assert "`stockade secrets unlock`" in " ".join(daemon.cli("status").out.split())
    wrong = daemon.cli("secrets", "unlock", stdin="another horse battery staple")
    assert (wrong.status != 0, "another" in wrong.out + wrong.err) == (True, False)
    assert uses(daemon) == "VAULT_UNAVAILABLE"
    assert daemon.cli("secrets", "unlock", stdin=WORDS).status == 0
    assert uses(daemon) == "SUCCEEDED"
    back = daemon.cli("secrets", "rotate", "--root", "--to", "file")
    assert back.status == 0, back.err
    assert uses(daemon) == "SUCCEEDED"
    assert not list(data.glob("vault.passphrase*"))
    daemon.restart()
    assert uses(daemon) == "SUCCEEDED"
