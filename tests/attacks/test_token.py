"""A daemon whose authority's key is in a PKCS #11 token: it serves, and refuses to without."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from stockade.client import Client
from stockade.credentials import load_credentials, save_credentials
from stockade.errors import StockadeError
from stockade.home import Home
from tests.attacks.brief import brief, until
from tests.attacks.enrolling import enroll_agent
from tests.attacks.probing import ledger
from tests.attacks.starting import refused, serve
from tests.identity.softhsm import CONFIGURED_BY, MODULE, PIN, SoftToken
from tests.running import CONFIG, STOCKADED, RunningDaemon, make_directory

OVERLAP_SECONDS = 12


@pytest.fixture
def soft() -> Iterator[SoftToken]:
    """A token."""
    folder = make_directory()
    yield SoftToken.make(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def with_token(soft: SoftToken) -> Iterator[RunningDaemon]:
    """A daemon that was set up with it; not started."""
    made = RunningDaemon(
        make_directory(),
        brief(overlap=OVERLAP_SECONDS) + soft.section(),
        {CONFIGURED_BY: str(soft.configuration)},
    )
    yield made
    made.stop()
    shutil.rmtree(made.root, ignore_errors=True)


def retired(daemon: RunningDaemon, times: int = 1) -> None:
    """Waits until so many authorities have been retired."""
    until(lambda: daemon.log.count("authority.retired") == times)
    until(lambda: len(list(daemon.home.data.glob("authority*"))) == 2)


def follow(daemon: RunningDaemon, home: Home) -> None:
    """Tells a device the port that the daemon has after its restart."""
    found = load_credentials(home.client)
    save_credentials(home.client, replace(found, address=daemon.address))


def reconfigure(daemon: RunningDaemon, old: str, new: str) -> None:
    """Edits config.toml."""
    text = daemon.home.config_file.read_text()
    assert old in text
    daemon.home.config_file.write_text(text.replace(old, new))


def test_everything_is_signed_by_the_token(soft: SoftToken, with_token: RunningDaemon) -> None:
    """Pairing, renewal, agents, restart, rotation: the key is never on disk, the PIN nowhere."""
    with with_token.start().client() as owner:
        (before,) = soft.private_keys()
        phone = with_token.pair_device("phone", "callers")
        bot = enroll_agent(with_token, "bot")
        for home in (phone, bot.home):
            with Client.open(home) as client:
                client.renew_certificate(home)
                assert client.who_am_i().principal
        owner.rotate_authority()
        assert len(soft.private_keys()) == 2
        for home in (with_token.home, phone, bot.home):
            with Client.open(home) as client:
                client.renew_certificate(home)
        retired(with_token)
        (after,) = soft.private_keys()
        assert after["ID"] != before["ID"]
    with_token.restart()
    follow(with_token, phone)
    for home in (with_token.home, phone, bot.home):
        with Client.open(home) as client:
            client.renew_certificate(home)
            assert client.who_am_i().principal

    key = (with_token.home.data / "authority.key").read_text()
    assert key.startswith("pkcs11:token=stockade%20tests;object=stockade-authority;id=")
    process = psutil.Process(with_token.pid)
    said = [*process.cmdline(), with_token.log]
    if os.geteuid() == 0:  # others are not told what it has in memory
        said += process.environ().values()
    said += [path.read_text(errors="replace") for path in with_token.home.config.glob("*.toml")]
    with with_token.client() as owner:
        said += [str(receipt) for receipt in ledger(owner)]
    assert not [text for text in said if PIN in text]


def test_a_key_moves_into_a_token_and_out_again(soft: SoftToken, with_token: RunningDaemon) -> None:
    """By rotation, in both directions; what was left behind is destroyed, devices stay paired."""
    with_token.config = brief(overlap=OVERLAP_SECONDS) + soft.section("file")
    data = with_token.start().home.data
    assert "PRIVATE KEY" in (data / "authority.key").read_text()
    phone = with_token.pair_device("phone", "callers")
    places = ('"file"', '"token"', '"file"')
    for number, (here, there) in enumerate(pairwise(places), start=1):
        with_token.stop()
        reconfigure(with_token, f"key = {here}", f"key = {there}")
        with with_token.start().client() as owner:
            owner.rotate_authority()
        follow(with_token, phone)
        for home in (with_token.home, phone):
            with Client.open(home) as client:
                client.renew_certificate(home)
        retired(with_token, number)
        in_token = there == '"token"'
        assert len(soft.private_keys()) == in_token
        assert (data / "authority.key").read_text().startswith("pkcs11:") == in_token
        with Client.open(phone) as client:
            assert client.who_am_i().device.name == "phone"


def test_a_token_that_goes_away_takes_nobody_down(
    soft: SoftToken, with_token: RunningDaemon
) -> None:
    """Nothing is certified without it, and that is said; all else is served. Back, it signs."""
    with with_token.start().client() as owner:
        soft.take_away()
        asks: tuple[Callable[[], object], ...] = (
            lambda: owner.renew_certificate(with_token.home),
            owner.rotate_authority,
            lambda: enroll_agent(with_token, "bot"),
        )
        for ask in asks:
            with pytest.raises(StockadeError) as caught:
                ask()
            assert caught.value.reason == "TOKEN_FAILED"
            assert caught.value.fix
        assert [event.finished.reason for event in owner.call("no_such_tool", {})][-1] == (
            "UNKNOWN_TOOL"
        )
        with with_token.client() as newcomer:
            assert newcomer.who_am_i().principal
        soft.bring_back()
        owner.renew_certificate(with_token.home)
        owner.rotate_authority()
        assert len(soft.private_keys()) == 2
    assert "Traceback" not in with_token.log


Spoil = Callable[[RunningDaemon, SoftToken], None]
SPOILT: dict[str, tuple[str, Spoil]] = {
    "no module": (
        "TOKEN_MODULE_UNUSABLE",
        lambda daemon, _: reconfigure(daemon, str(MODULE), "/nonexistent/module.so"),
    ),
    "no token": ("TOKEN_FAILED", lambda _, soft: soft.take_away()),
    "another token": (
        "TOKEN_NOT_CONFIGURED",
        lambda daemon, _: reconfigure(daemon, 'token = "stockade tests"', 'token = "other"'),
    ),
    "a token of another label": ("TOKEN_ABSENT", lambda _, soft: soft.remake("other")),
    "a wrong PIN": ("TOKEN_PIN_REFUSED", lambda _, soft: _write(soft.pin_file, "11111111")),
    "no PIN": ("FILE_ABSENT", lambda _, soft: soft.pin_file.unlink()),
    "a PIN that others can read": ("FILE_EXPOSED", lambda _, soft: soft.pin_file.chmod(0o640)),
    "no key": ("TOKEN_KEY_ABSENT", lambda _, soft: soft.empty()),
    "no configuration": (
        "TOKEN_NOT_CONFIGURED",
        lambda daemon, _: _write(daemon.home.config_file, CONFIG),
    ),
    "no place of the PIN": ("TOKEN_NOT_CONFIGURED", lambda daemon, _: _no_pin(daemon)),
    "half a configuration": (
        "CONFIG_INVALID",
        lambda daemon, _: reconfigure(daemon, 'token = "stockade tests"', 'token = ""'),
    ),
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _no_pin(daemon: RunningDaemon) -> None:
    reconfigure(daemon, 'key = "token"', 'key = "file"')
    reconfigure(daemon, "pin_file = ", "# pin_file = ")


@pytest.mark.parametrize("which", SPOILT)
def test_without_its_key_the_daemon_does_not_start(
    soft: SoftToken, with_token: RunningDaemon, which: str
) -> None:
    """It never makes another in its place: what is missing is named, and how to mend it."""
    assert with_token.init().returncode == 0
    reason, spoil = SPOILT[which]
    spoil(with_token, soft)
    said = refused(serve(with_token), reason)
    assert PIN not in said
    assert "11111111" not in said


def test_a_token_that_cannot_be_had_stops_the_initialising(
    soft: SoftToken, with_token: RunningDaemon
) -> None:
    """No data directory begins without its key, or with one in a file; mended, it begins."""
    soft.take_away()
    answer = with_token.init()
    assert answer.returncode == 2
    assert "TOKEN_FAILED" in answer.stderr
    assert not (with_token.home.data / "installation.json").exists()
    soft.bring_back()
    with with_token.start().client() as owner:
        assert owner.who_am_i().principal
    assert len(soft.private_keys()) == 1


def test_without_the_library_the_daemon_says_which_extra_to_install(
    soft: SoftToken, with_token: RunningDaemon
) -> None:
    """`pkcs11` is an extra: only who wants a token needs it."""
    assert with_token.init().returncode == 0
    shadow = soft.folder / "shadow"
    shadow.mkdir()
    program = STOCKADED.read_text().splitlines()
    body = "\n".join(line for line in program if not line.startswith("#!"))
    (shadow / "stockaded").write_text(f"import sys\nsys.modules['pkcs11'] = None\n{body}")
    with_token.wrapper = ()
    said = refused(serve(with_token, program=shadow / "stockaded"), "TOKEN_SUPPORT_MISSING")
    assert "pip install 'stockade[pkcs11]'" in said
