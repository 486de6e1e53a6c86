"""A machine without a keychain, and nobody who chose another place for the vault's root key."""

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from daemon.config_file import UNCHOSEN_LINE
from stockade.credentials import certificate_request, make_key
from stockade.errors import StockadeError
from tests.promises.acting import ALONE, add_tool, apply, receipts, run
from tests.running import CONFIG, STOCKADED, RunningDaemon, finished, make_directory

UNCHOSEN = CONFIG.replace('root = "file"', UNCHOSEN_LINE)
# Where keyring finds a backend, it is none that is trusted: one that keeps nothing.
NO_KEYCHAIN = {
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
}


@pytest.fixture
def unchosen() -> Iterator[RunningDaemon]:
    daemon = RunningDaemon(make_directory(), UNCHOSEN, NO_KEYCHAIN)
    try:
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(daemon.root, ignore_errors=True)


def test_a_file_is_chosen_by_name_alone(unchosen: RunningDaemon) -> None:
    """Until then the daemon serves without secrets, says what to do, and makes no root key."""
    unchosen.start()
    with unchosen.client() as client:
        apply(client, ALONE)
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
        with pytest.raises(StockadeError) as refused:
            client.put_secret("secret://global/token", b"value")
    assert refused.value.reason == "VAULT_UNAVAILABLE"
    assert "stockade up --vault-root file" in refused.value.fix
    vault = json.loads(unchosen.cli("status", "--json").out)["vault"]
    assert not vault.get("available")
    assert unchosen.cli("secrets", "unlock").status != 0
    assert not list(unchosen.home.data.glob("vault.*"))
    unchosen.stop()
    assert unchosen.init("--vault-root=file").returncode == 0
    assert 'root = "file"' in unchosen.home.config_file.read_text()
    assert (unchosen.home.data / "vault.root").stat().st_mode & 0o777 == 0o600
    unchosen.start()
    with unchosen.client() as client:
        assert client.put_secret("secret://global/token", b"value").version == 1


def test_a_call_that_needs_a_secret_is_denied_by_no_policy(unchosen: RunningDaemon) -> None:
    """Policy permits it, and is not named as what stands against it."""
    unchosen.start()
    with unchosen.client() as client:
        apply(client, ALONE + 'permit (principal, action == Action::"use_secret", resource);')
        rest = '[[secrets]]\nreference = "secret://global/token"\nenv = "TOKEN"\n'
        add_tool(client, "needs", ["/bin/true"], rest=rest, sensitivity="0.0")
        events = run(client, "needs")
        denied = receipts(client, events[0].call_id)[-1]
    assert finished(events).reason == "VAULT_UNAVAILABLE"
    [decision] = [event.decision for event in events if event.HasField("decision")]
    assert list(decision.policies) == denied["body"]["policies"] == []
    assert denied["kind"] == "call.denied"


def test_init_chooses_no_file_by_itself(unchosen: RunningDaemon) -> None:
    """It pins no place where there is neither a configuration nor a keychain that it trusts."""
    request = unchosen.root / "local.csr"
    request.write_bytes(certificate_request(make_key()))
    answers = [f"--{what}-out={unchosen.root / what}" for what in ("certificate", "authority")]
    made = subprocess.run(
        [STOCKADED, "init", f"--certificate-request={request}", "--device-name=local", *answers],
        env=unchosen.environ(), capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert json.loads(made.stdout)["vault_root"] is None
    assert UNCHOSEN_LINE in unchosen.home.config_file.read_text()
    assert not list(unchosen.home.data.glob("vault.*"))
