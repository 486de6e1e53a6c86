"""Rotating the authority, killed before each of its steps on disk: old or new, never neither."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from daemon.config import load_config
from daemon.errors import StartError
from daemon.estate import Estate, create, make_directories
from daemon.foundation import foundation
from daemon.identity.authorities import InForce
from daemon.identity.authority_files import Files
from daemon.identity.authority_keys import AuthorityKeys
from daemon.identity.rotation import Rotation
from identity.errors import KeyFileError
from identity.keyuri import KeyUri
from stockade.home import Home
from tests.identity.softhsm import CONFIGURED_BY, SoftToken
from tests.running import make_directory

Soft = SoftToken | None

CONFIG = """\
[vault]
root = "file"
[identity]
authority_overlap_hours = {}
"""
CHILD = Path(__file__).with_name("rotation_child.py")
CHECKOUT = CHILD.parents[2]
LONG, OVER = "24", "0.001"
MORE_STEPS_THAN_THERE_ARE = 30


@pytest.fixture(params=["file", "token"])
def soft(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soft]:
    """Keys in files, and then the same with keys in a token."""
    if request.param == "file":
        yield None
        return
    folder = make_directory()
    made = SoftToken.make(folder)
    monkeypatch.setenv(CONFIGURED_BY, str(made.configuration))
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def check_keys(soft: Soft, home: Home) -> None:
    """In the token there are exactly the keys that the key files name."""
    if soft is None:
        return
    named = {KeyUri.parse(path.read_bytes()).id.hex() for path in home.data.glob("authority*.key")}
    assert {found["ID"] for found in soft.objects()} == named
    for found in soft.private_keys():
        assert found["EXTRACTABLE"] is False


def forget_keys(soft: Soft) -> None:
    """Another home begins with an empty token."""
    if soft is not None:
        soft.empty()


def make_home(root: Path, overlap: str, soft: Soft = None) -> Home:
    """A data directory with an authority, and nothing served."""
    home = Home.under(root)
    make_directories(home)
    section = "" if soft is None else soft.section()
    home.config_file.write_text(CONFIG.format(overlap) + section)
    create(home, Files(home.data, AuthorityKeys(load_config(home.config_file).authority)))
    return home


async def _state(home: Home) -> tuple[InForce, list[str]]:
    async with foundation(Estate.open(home), load_config(home.config_file)) as base:
        names = sorted(path.name for path in home.data.glob("authority*"))
        return base.authorities.state, names


def state(home: Home) -> tuple[InForce, list[str]]:
    """What a start finds in force, and which files there are then."""
    return anyio.run(_state, home)


async def _rotate(home: Home) -> InForce:
    async with foundation(Estate.open(home), load_config(home.config_file)) as base:
        return (await Rotation(base, lambda: None).rotate("tests"))[0]


def killed(home: Home, act: str, step: int) -> bool:
    """Runs it in a child; whether it was killed before it was done."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.daemon.rotation_child", home.config, act, str(step)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def wait_out(state: InForce) -> None:
    """Until the period is over."""
    while time.time() * 1000 <= state.until_ms:
        time.sleep(0.05)


def test_a_rotation_killed_before_any_of_its_steps(tmp_path: Path, soft: Soft) -> None:
    """It has happened or it has not; the next start clears up, and it can be done then."""
    steps = 0
    for step in range(1, MORE_STEPS_THAN_THERE_ARE):
        home = make_home(tmp_path / str(step), LONG, soft)
        before, _ = state(home)
        done = not killed(home, "rotate", step)
        after, names = state(home)
        assert after.current.spki_sha256 == before.current.spki_sha256
        assert (after.successor is not None) == done
        check_keys(soft, home)
        if done:
            assert len(names) == 4
            break
        assert names == ["authority.key", "authority.pem"]
        steps = step
        assert anyio.run(_rotate, home).successor is not None
        forget_keys(soft)
    assert steps >= 4, "the steps were not found"


def test_a_retirement_killed_before_any_of_its_steps(tmp_path: Path, soft: Soft) -> None:
    """Once it is recorded the old authority is out, whatever had become of the files."""
    steps = 0
    for step in range(1, MORE_STEPS_THAN_THERE_ARE):
        home = make_home(tmp_path / str(step), OVER, soft)
        rotated = anyio.run(_rotate, home)
        assert rotated.successor is not None
        wait_out(rotated)
        done = not killed(home, "retire", step)
        after, names = state(home)
        assert after.current.spki_sha256 == rotated.successor.spki_sha256
        assert after.successor is None
        assert names == ["authority.key", "authority.pem"]
        check_keys(soft, home)
        again, _ = state(home)
        assert again.current.spki_sha256 == after.current.spki_sha256
        forget_keys(soft)
        if done:
            break
        steps = step
    assert steps >= 2, "the steps were not found"


@pytest.mark.parametrize("name", ["authority-next.key", "authority-next.pem"])
def test_a_successor_that_was_lost_is_missed(tmp_path: Path, name: str) -> None:
    """A period whose new authority is gone does not go on with the old one alone."""
    home = make_home(tmp_path / "home", LONG)
    anyio.run(_rotate, home)
    (home.data / name).unlink()
    with pytest.raises((StartError, KeyFileError)) as caught:
        state(home)
    assert getattr(caught.value, "code", "") in ("INSTALLATION_UNREADABLE", "FILE_ABSENT")
    assert name in str(caught.value)
