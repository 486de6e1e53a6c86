"""`stockade up` and `stockade down`: the right daemon, started once, stopped for good."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.endpoint import is_served, load_endpoint
from stockade.home import Home
from tests.stockade.conftest import Stockade
from tests.stockade.serving import World, pair_home

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Home) -> Iterator[None]:
    """The stand-in beside an interpreter, where `up` looks for it; stopped whatever happens."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "stockaded"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.stockade.stand_in import main\nmain()\n"
    )
    script.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(folder / "python"))
        yield
    if is_served(home) and (endpoint := load_endpoint(home)) and endpoint.pid != os.getpid():
        os.kill(endpoint.pid, 9)


def test_up_and_down(stockade: Stockade, home: Home) -> None:
    """From nothing to a served home that this device may use, and back."""
    result = stockade("up", "--detach")
    assert result.status == 0, result.err
    endpoint = load_endpoint(home)
    assert endpoint is not None
    assert endpoint.address in result.out
    assert stockade("whoami").status == 0
    assert home.log.stat().st_mode & 0o777 == 0o600
    again = stockade("up", "--detach", "--json")
    assert json.loads(again.out) == {
        "address": endpoint.address,
        "pid": endpoint.pid,
        "started": False,
    }
    assert stockade("down").status == 0
    assert not is_served(home)
    assert stockade("down").out.startswith("no daemon serves")
    assert stockade("whoami").status == 20
    assert stockade("up", "-d").status == 0
    assert stockade("whoami").status == 0


def test_detached_is_free_of_us(stockade: Stockade, home: Home) -> None:
    """A detached daemon has a session of its own and holds none of our terminal's descriptors."""
    assert stockade("up", "--detach").status == 0
    endpoint = load_endpoint(home)
    assert endpoint is not None
    assert os.getsid(endpoint.pid) == endpoint.pid
    standard = [Path(f"/proc/{endpoint.pid}/fd/{n}").readlink() for n in range(3)]
    assert standard == [Path("/dev/null"), home.log, home.log]


def test_no_keychain(stockade: Stockade, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's own refusal is relayed: status 2, code and fix. The choice is passed on."""
    monkeypatch.setenv("STAND_IN", "no-keychain")
    result = stockade("up", "--detach")
    assert result.status == 2
    assert result.err == "error: VAULT_ROOT_UNCHOSEN: no keychain here\nfix: choose\n"
    assert stockade("up", "--detach", "--vault-root", "file").status == 0
    assert is_served(home)


def test_start_failure_is_relayed(
    stockade: Stockade, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a detached daemon says when it fails is not lost in the log."""
    monkeypatch.setenv("STAND_IN", "will-not-serve")
    result = stockade("up", "--detach")
    assert result.err == "error: PORT_TAKEN: 7607 is taken\nfix: choose another\n"
    assert not is_served(home)


def test_bad_vault_root(stockade: Stockade, home: Home) -> None:
    """An unknown vault root starts nothing."""
    assert stockade("up", "--detach", "--vault-root", "none").status == 2
    assert not home.data.exists()


def test_paired_elsewhere(stockade: Stockade, home: Home) -> None:
    """A home that is paired with another machine's daemon does not get one of its own."""
    pair_home(World(), home, address="192.0.2.1:7607")
    result = stockade("up", "--detach")
    assert "PAIRED_ELSEWHERE" in result.err
    assert not home.data.exists()


def test_down_kills_no_stranger(stockade: Stockade, home: Home) -> None:
    """A process that only has the number in the file is not ended, even while the lock is held."""
    home.data.mkdir(parents=True)
    lock = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        home.endpoint.write_text(json.dumps({"pid": stranger.pid, "address": "127.0.0.1:1"}))
        result = stockade("down")
        assert "DAEMON_UNKNOWN" in result.err
        assert stranger.poll() is None
        stranger.kill()
    os.close(lock)


def test_down_ignores_a_stale_file(stockade: Stockade, home: Home) -> None:
    """Without the lock held there is no daemon, whatever a crashed one left behind."""
    home.data.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        home.endpoint.write_text(json.dumps({"pid": stranger.pid, "address": "127.0.0.1:1"}))
        assert stockade("down").status == 0
        assert stranger.poll() is None
        stranger.kill()
