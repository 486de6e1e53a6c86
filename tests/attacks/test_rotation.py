"""The authority is replaced while the daemon serves, restarts and is killed."""

import signal
import time
from collections.abc import Iterator

import grpc
import pytest
from cryptography import x509

from stockade.client import Client
from stockade.credentials import load_credentials
from stockade.errors import Conflict, DaemonUnreachable, NotAuthenticated, NotPermitted
from stockade.home import Home
from tests.attacks import certificates
from tests.attacks.brief import brief, until
from tests.attacks.certificates import Presented
from tests.attacks.probing import ledger, newest, send
from tests.attacks.starting import refused, serve
from tests.attacks.test_devices import Listener
from tests.running import RunningDaemon, local_device, running

OVERLAP = 15.0


@pytest.fixture
def rotating() -> Iterator[RunningDaemon]:
    """A daemon whose rotations last for seconds; its devices' certificates for a day."""
    with running(brief(overlap=OVERLAP)) as daemon:
        yield daemon


@pytest.fixture
def patient() -> Iterator[RunningDaemon]:
    """A daemon whose rotations last longer than the test."""
    with running(brief()) as daemon:
        yield daemon


def authorities(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a bundle."""
    return x509.load_pem_x509_certificates(pem)


def issuer(home: Home) -> x509.Name:
    """The authority that certified the device of a home."""
    return x509.load_pem_x509_certificate(load_credentials(home.client).certificate).issuer


def retired(daemon: RunningDaemon) -> None:
    """Waits until the old authority is out."""
    until(lambda: "authority.retired" in daemon.log)
    until(lambda: not (daemon.home.data / "authority-next.pem").exists())


def test_both_are_accepted_for_a_while_and_then_one(rotating: RunningDaemon) -> None:
    """Old certificates are good until the period ends, new ones from its beginning."""
    lazy, keen = rotating.pair_device("lazy", "auditors"), rotating.pair_device("keen", "auditors")
    old = authorities(load_credentials(keen.client).authority)[0]
    before = (rotating.home.data / "authority.key").read_bytes()
    with rotating.client() as owner, certificates.client(rotating, Presented.of(lazy)) as sleeper:
        stream = Listener(sleeper.follow_ledger(1))
        answer = owner.rotate_authority()
        assert (newest(owner)["kind"], newest(owner)["body"]["to"]) == (
            "authority.rotated",
            answer.new,
        )
        with Client.open(keen) as client:
            client.renew_certificate(keen)  # on the connection from before
            assert local_device(client).name == "keen"
        bundle = authorities(load_credentials(keen.client).authority)
        assert bundle[0] == old
        assert len(bundle) == 2
        assert issuer(keen) == bundle[1].subject != old.subject
        newcomer = rotating.pair_device("newcomer", "auditors")
        assert issuer(newcomer) == bundle[1].subject
        # Everybody gets in: who knows only the old one, and who has it from the new one.
        assert certificates.shown_by(rotating).issuer == old.subject
        for home in (lazy, keen, newcomer):
            with Client.open(home) as client:
                assert client.who_am_i().device.name
        owner.renew_certificate(rotating.home)

        retired(rotating)
        assert time.time() >= answer.until.seconds
        error = stream.ended()
        assert error is not None
        assert error.reason == "AUTHORITY_RETIRED"
        with pytest.raises(NotAuthenticated) as caught:
            sleeper.who_am_i()
        assert caught.value.reason == "AUTHORITY_RETIRED"
        assert certificates.shown_by(rotating).issuer == bundle[1].subject
        for home in (keen, newcomer):
            with Client.open(home) as client:
                assert client.who_am_i().device.name
        with Client.open(lazy) as client, pytest.raises(DaemonUnreachable):
            client.who_am_i()  # neither end accepts the other
        kinds = [one["kind"] for one in ledger(owner) if one["kind"].startswith("authority.")]
        assert kinds == ["authority.rotated", "authority.retired"]
    assert (rotating.home.data / "authority.key").read_bytes() != before
    assert sorted(path.name for path in rotating.home.data.glob("authority*")) == [
        "authority.key",
        "authority.pem",
    ]


def test_an_old_certificate_is_refused_in_the_handshake(rotating: RunningDaemon) -> None:
    """After the period, certificates made with the old key, by whoever stole it, are worthless."""
    stolen = certificates.own_authority(rotating)
    with rotating.client() as owner:
        me = local_device(owner).device_id
        owner.rotate_authority()
        owner.renew_certificate(rotating.home)
        retired(rotating)
        forged = certificates.presented(stolen, me)
        with (
            certificates.channel(rotating, forged) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            send(channel, "/stockade.v1.DeviceService/WhoAmI")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert owner.who_am_i().device.device_id == me


def test_a_second_rotation_is_refused_during_the_first(patient: RunningDaemon) -> None:
    """Three at a time would lose devices that know only the first; also after a restart."""
    with patient.client() as owner:
        owner.rotate_authority()
    for _ in range(2):
        with patient.client() as owner:
            sequence = owner.status().ledger_sequence
            with pytest.raises(Conflict) as caught:
                owner.rotate_authority()
            assert caught.value.reason == "AUTHORITY_ROTATING"
            assert "until" in caught.value.message
            assert caught.value.fix
            assert owner.status().ledger_sequence == sequence
        patient.restart(signal.SIGKILL)


def test_only_owners_rotate(patient: RunningDaemon) -> None:
    """Nobody else may, whatever they may otherwise."""
    home = patient.pair_device("deputy", "operators", "approvers", "auditors", "callers")
    with Client.open(home) as client, pytest.raises(NotPermitted):
        client.rotate_authority()
    assert not (patient.home.data / "authority-next.key").exists()


def test_the_new_key_is_as_private_as_the_old(patient: RunningDaemon) -> None:
    """0600 from its first moment, and refused at start if it is not any more."""
    assert patient.cli("devices", "rotate-authority", "--json").lines()[0]["until"]
    key = patient.home.data / "authority-next.key"
    assert key.stat().st_mode & 0o777 == 0o600
    patient.stop()
    key.chmod(0o640)
    assert f"chmod 600 -- {key}" in refused(serve(patient), "FILE_EXPOSED")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_period_goes_on_over_a_restart(patient: RunningDaemon, how: int) -> None:
    """Stopped or killed in the middle: both are accepted as before, and the new one issues."""
    with patient.client() as owner:
        answer = owner.rotate_authority()
        keen = patient.pair_device("keen")
    patient.restart(how)
    certified = load_credentials(keen.client)
    with certificates.client(patient, Presented.of(keen)) as client:
        assert client.who_am_i().device.name == "keen"
    with patient.client() as owner:  # still certified by the old one, and knows no other
        assert len(authorities(owner.credentials.authority)) == 1
        owner.renew_certificate(patient.home)
        assert issuer(patient.home) == issuer(keen)
        assert authorities(certified.authority) == authorities(owner.credentials.authority)
        rotations = [one for one in ledger(owner) if one["kind"] == "authority.rotated"]
    assert [one["body"]["to"] for one in rotations] == [answer.new]


def test_a_period_that_ended_while_nobody_served_is_over(rotating: RunningDaemon) -> None:
    """A daemon that was down when the old authority's time ran out does not serve it again."""
    lazy = rotating.pair_device("lazy")
    with rotating.client() as owner:
        owner.rotate_authority()
        owner.renew_certificate(rotating.home)
    rotating.stop(signal.SIGKILL)
    time.sleep(OVERLAP)
    rotating.start()
    with rotating.client() as owner:
        assert local_device(owner).name == "local"
        assert [one for one in ledger(owner) if one["kind"] == "authority.retired"]
    with (
        certificates.client(rotating, Presented.of(lazy)) as client,
        pytest.raises(DaemonUnreachable),
    ):
        client.who_am_i()


def test_the_local_command_line_heals_by_up(rotating: RunningDaemon) -> None:
    """The local device, if it slept through the period, is certified again by `stockade up`."""
    with rotating.client() as owner:
        owner.rotate_authority()
    retired(rotating)
    assert rotating.cli("whoami").status == 20
    rotating.stop()
    answer = rotating.cli("up", "--detach")
    assert answer.status == 0, answer.err
    try:
        assert rotating.cli("whoami").status == 0
    finally:
        assert rotating.cli("down").status == 0


def test_an_old_backup_of_the_keys_does_not_bring_the_old_one_back(
    rotating: RunningDaemon,
) -> None:
    """Files of an authority that was retired, put back, do not start a daemon."""
    names = ("authority.key", "authority.pem")
    kept = {name: (rotating.home.data / name).read_bytes() for name in names}
    with rotating.client() as owner:
        owner.rotate_authority()
    retired(rotating)
    rotating.stop()
    for name, content in kept.items():
        (rotating.home.data / name).write_bytes(content)
    assert "another authority" in refused(serve(rotating), "INSTALLATION_UNREADABLE")
