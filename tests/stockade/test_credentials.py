"""This device's key stays private, and certificates are only accepted for it."""

# ruff: noqa: ARG001 - asking for the fixture `daemon` serves the home

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from stockade import Client
from stockade.credentials import (
    BACKDATED,
    KEY,
    PROFILE,
    Credentials,
    load_credentials,
    make_key,
    save_credentials,
)
from stockade.errors import CredentialsError, DaemonUnreachable
from stockade.home import Home
from tests.stockade.authority import HOUR, Authority
from tests.stockade.serving import Daemon, World, pair_home


def test_round_trip(world: World, home: Home) -> None:
    """What is stored is what is loaded; the key is for its owner alone."""
    stored = pair_home(world, home)
    loaded = load_credentials(home.client)
    assert loaded.certificate == stored.certificate
    assert (home.client / KEY).stat().st_mode & 0o777 == 0o600
    assert home.client.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_readable_key_is_refused(world: World, home: Home, mode: int) -> None:
    """A key that others could have read is not used, and the fix is named."""
    pair_home(world, home)
    (home.client / KEY).chmod(mode)
    with pytest.raises(CredentialsError) as caught:
        load_credentials(home.client)
    assert caught.value.reason == "KEY_READABLE"
    assert "chmod 600" in caught.value.fix


def test_linked_key_is_refused(world: World, home: Home, tmp_path: Path) -> None:
    """A key file that is a link is not followed."""
    pair_home(world, home)
    key = home.client / KEY
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CredentialsError):
        load_credentials(home.client)


def test_foreign_certificate(world: World, home: Home) -> None:
    """A certificate for another key, or of another authority, is refused."""
    mine = pair_home(world, home)
    other = world.authority.issue(make_key().public_key(), "device")
    with pytest.raises(CredentialsError):
        mine.renewed(other, world.authority.pem)
    with pytest.raises(CredentialsError):
        mine.renewed(mine.certificate, Authority().pem)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"device_id": 1}', b"\xff", b"[" * 9999])
def test_bad_profile(world: World, home: Home, content: bytes) -> None:
    """Whatever stands in the profile, a credentials error comes out."""
    pair_home(world, home)
    (home.client / PROFILE).write_bytes(content)
    with pytest.raises(CredentialsError):
        load_credentials(home.client)


@pytest.mark.parametrize("name", [KEY, "certificate.pem", "authority.pem"])
@pytest.mark.parametrize("content", [b"", b"\x00", b"-----BEGIN CERTIFICATE-----\n"])
def test_bad_files(world: World, home: Home, name: str, content: bytes) -> None:
    """Whatever stands in the files, a credentials error comes out."""
    pair_home(world, home)
    (home.client / name).write_bytes(content)
    with pytest.raises(CredentialsError):
        load_credentials(home.client)


def _with_life(world: World, home: Home, start: dt.timedelta, end: dt.timedelta) -> Credentials:
    mine = pair_home(world, home)
    certificate = world.authority.issue(mine.key.public_key(), "device", start, end)
    changed = replace(mine, certificate=certificate)
    save_credentials(home.client, changed)
    return changed


def test_renewal_when_half_is_over(daemon: Daemon, world: World, home: Home) -> None:
    """A certificate past half its life is replaced at the next connection, for the same key."""
    old = _with_life(world, home, -3 * HOUR, 2 * HOUR)
    with Client.open(home) as client:
        client.who_am_i()
    renewed = load_credentials(home.client)
    assert renewed.certificate != old.certificate
    assert renewed.key_bytes == old.key_bytes
    assert not renewed.renewal_due(dt.datetime.now(dt.UTC))


def test_no_renewal_before(daemon: Daemon, world: World, home: Home) -> None:
    """A young certificate is left alone."""
    old = _with_life(world, home, -HOUR, 5 * HOUR)
    with Client.open(home) as client:
        client.who_am_i()
    assert load_credentials(home.client).certificate == old.certificate


def test_renewal_that_fails(world: World, home: Home) -> None:
    """While the old certificate is good, a renewal that fails stops nobody but is not the error."""
    _with_life(world, home, -3 * HOUR, 2 * HOUR)
    home.data.mkdir(parents=True)
    home.endpoint.write_text('{"pid": 99, "address": "127.0.0.1:1"}')
    with Client.open(home) as client, pytest.raises(DaemonUnreachable):
        client.who_am_i()


def test_expired(daemon: Daemon, world: World, home: Home) -> None:
    """A certificate that ran out is not even tried; the fix says how to get another."""
    _with_life(world, home, -3 * HOUR, -HOUR)
    with pytest.raises(CredentialsError) as caught:
        Client.open(home)
    assert caught.value.reason == "CERTIFICATE_EXPIRED"


def test_other_daemon_is_refused(daemon: Daemon, home: Home) -> None:
    """A listener at the address that is not of our authority gets no request."""
    other = World()
    key = make_key()
    stranger = Credentials(
        device_id="dev-a",
        name="a",
        address=daemon.address,
        key=key,
        certificate=other.authority.issue(key.public_key(), "device"),
        authority=other.authority.pem,
    )
    save_credentials(home.client, stranger)
    with Client.open(home) as client, pytest.raises(DaemonUnreachable):
        client.who_am_i()


def test_repr_shows_no_key(world: World, home: Home) -> None:
    """Neither key nor certificates are in a repr, which may end in a log."""
    assert "BEGIN" not in repr(pair_home(world, home))


def test_one_of_several_authorities_is_enough(world: World, home: Home) -> None:
    """While one authority takes over from another, a certificate may be of either, and no third."""
    mine, next_, third = pair_home(world, home), Authority(), Authority()
    bundle = world.authority.pem + next_.pem
    for issuer in (world.authority, next_):
        certificate = issuer.issue(mine.key.public_key(), "device")
        save_credentials(home.client, mine.renewed(certificate, bundle))
        assert load_credentials(home.client).authority == bundle
    with pytest.raises(CredentialsError):
        mine.renewed(third.issue(mine.key.public_key(), "device"), bundle)


def test_half_of_a_life_begins_when_it_was_issued(world: World, home: Home) -> None:
    """That certificates are dated back, for slow clocks, does not make them due early."""
    second = dt.timedelta(seconds=1)
    young = _with_life(world, home, -BACKDATED, 10 * second)
    assert not young.renewal_due(dt.datetime.now(dt.UTC))
    assert young.renewal_due(dt.datetime.now(dt.UTC) + 6 * second)
    odd = _with_life(world, home, -second, second)  # shorter than it is dated back
    assert odd.renewal_time() <= odd.lifetime()[1]
