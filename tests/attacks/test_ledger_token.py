"""The key that signs the ledger is in a PKCS #11 token: moved there, used there, taken away."""

import shutil
from collections.abc import Iterator

import pytest

from ledger.lineage import parse_lineage
from stockade.errors import StockadeError
from tests.attacks.starting import refused, serve
from tests.attacks.test_ledger_rotation import rotate, verified
from tests.attacks.test_rolled_back import work
from tests.identity.softhsm import CONFIGURED_BY, SoftToken
from tests.running import CONFIG, RunningDaemon, make_directory

IN_TOKEN = '[ledger]\nkey = "token"\n'


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    folder = make_directory()
    yield SoftToken.make(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def daemon(soft: SoftToken) -> Iterator[RunningDaemon]:
    """Its authority's key is in a file; the ledger's next one will be in the token."""
    environment = {CONFIGURED_BY: str(soft.configuration)}
    config = CONFIG + soft.section("file") + IN_TOKEN
    made = RunningDaemon(make_directory(), config, environment)
    yield made.start()
    made.stop()
    shutil.rmtree(made.root, ignore_errors=True)


def test_the_ledgers_key_moves_into_a_token_and_on(soft: SoftToken, daemon: RunningDaemon) -> None:
    """By rotation; each one before is destroyed; from the first key all of it verifies."""
    work(daemon)
    pinned = daemon.root / "pinned"
    pinned.write_bytes(daemon.home.ledger_keys.read_bytes())
    rotate(daemon)
    key = daemon.home.data / "ledger.key"
    assert key.read_bytes().startswith(b"pkcs11:")
    (first,) = soft.private_keys()
    assert (first["LABEL"], first["EXTRACTABLE"]) == ("stockade-ledger", False)
    work(daemon)
    daemon.restart()
    work(daemon)
    rotate(daemon)
    (second,) = soft.private_keys()
    assert second["ID"] != first["ID"]
    assert not (daemon.home.data / "ledger-retired.key").exists()
    work(daemon)
    checkpoint = daemon.root / "checkpoint"
    checkpoint.write_text(daemon.cli("ledger", "checkpoint").out)
    assert verified(daemon, pinned, "--checkpoint", str(checkpoint))[0] == 0
    # Killed after the receipt: the old key was set aside, and is destroyed by the next start.
    daemon.stop()
    shutil.copy(key, retired := daemon.home.data / "ledger-retired.key")
    lines = retired.read_bytes().split(b"id=")
    retired.write_bytes(lines[0] + b"id=%01%02;type=private\n" + lines[1].split(b"\n", 1)[1])
    soft.add("stockade-ledger", b"\x01\x02")
    daemon.start()
    assert not retired.exists()
    assert [one["ID"] for one in soft.private_keys()] == [second["ID"]]
    assert len(parse_lineage(daemon.home.ledger_keys.read_bytes()).rotations) == 2


def test_without_the_token_nothing_runs_and_all_goes_on_when_it_is_back(
    soft: SoftToken, daemon: RunningDaemon
) -> None:
    """No record, no run: refused with the reason, in the call and in status."""
    rotate(daemon)
    work(daemon)
    daemon.stop()
    soft.take_away()
    refused(serve(daemon), "TOKEN_FAILED")
    soft.bring_back()
    daemon.start()
    work(daemon)
    soft.take_away()
    with pytest.raises(StockadeError) as unsigned:
        work(daemon)
    assert unsigned.value.reason == "LEDGER_KEY_UNAVAILABLE"
    with daemon.client() as client:
        assert client.status().ledger_state.startswith("LEDGER_KEY_UNAVAILABLE")
    soft.bring_back()
    work(daemon)
