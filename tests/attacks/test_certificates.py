"""Certificates that were revoked, have ended, or should never have been issued: on the wire."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from daemon.identity.enrolment import MAX_ENROLLED_IN_A_DAY, MAX_GOOD_CERTIFICATES
from stockade.client import Client, new_call_id
from stockade.connection import Stream
from stockade.credentials import certificate_request, load_credentials
from stockade.errors import Conflict, NotAuthenticated, NotFound, StockadeError
from stockade.home import Home
from stockade.v1 import device_pb2, device_pb2_grpc
from tests.attacks import certificates
from tests.attacks.brief import brief, until
from tests.attacks.certificates import Presented
from tests.attacks.enrolling import enroll_agent, manifest_text
from tests.attacks.probing import ledger, raw_error, receipts_of, send
from tests.attacks.test_devices import Listener
from tests.attacks.test_pairing import ask, invited
from tests.identity import making
from tests.running import RunningDaemon, local_device, running

WHO_AM_I = "/stockade.v1.DeviceService/WhoAmI"
RENEW = "/stockade.v1.DeviceService/RenewCertificate"
LIFETIME = 14.0
# What is cut is cut within a second; the machine that runs this may be busy.
SECOND = 30.0


def serial_of(shown: Presented) -> str:
    """The serial number as the daemon writes it."""
    return format(x509.load_pem_x509_certificate(shown.certificate).serial_number, "x")


def two_certificates(home: Home) -> tuple[Presented, Presented]:
    """The certificate a device has, and another it gets now."""
    first = Presented.of(home)
    with Client.open(home) as client:
        client.renew_certificate(home)
    return first, Presented.of(home)


def reason(shown: Presented, daemon: RunningDaemon, method: str = WHO_AM_I) -> str:
    """The reason that a new connection with it is refused for; empty if it is let in."""
    with certificates.channel(daemon, shown) as channel:
        try:
            send(channel, method)
        except grpc.RpcError as error:
            return raw_error(error).reason
    return ""


@contextmanager
def streams(client: Client) -> Iterator[list[Listener]]:
    """Two streams that are open, and stay so."""
    opened: list[Stream[Any]] = [client.watch_approvals(), client.follow_ledger(1)]
    listeners = [Listener(stream) for stream in opened]
    assert listeners[1].first.wait(60)
    yield listeners
    for stream in opened:
        stream.cancel()


def test_one_certificate_is_revoked_and_no_other(daemon: RunningDaemon) -> None:
    """Streams and calls of the revoked are cut in a second; the device goes on with its other."""
    home = daemon.pair_device("phone", "approvers", "auditors", "callers")
    old, new = two_certificates(home)
    call_id = new_call_id()
    with (
        certificates.client(daemon, old) as before,
        certificates.client(daemon, new) as after,
        daemon.client() as owner,
        streams(before) as cut,
        streams(after) as kept,
    ):
        arguments = {"workspace": "work", "path": "never.txt", "content": "x"}
        call = Listener(before.call("write_file", arguments, call_id=call_id, detach=True))
        until(lambda: bool(owner.list_approvals()))

        began = time.monotonic()
        owner.revoke_certificate(serial_of(old))

        for listener in cut:
            error = listener.ended()
            assert error is not None
            assert (error.reason, error.grpc_code) == ("CERT_REVOKED", "UNAUTHENTICATED")
        assert time.monotonic() - began < SECOND
        call.ended()
        until(lambda: not owner.list_approvals(), SECOND)
        last = receipts_of(owner, call_id)[-1]
        assert (last["kind"], last["body"]["reason"]) == ("call.cancelled", "CERT_REVOKED")
        with pytest.raises(NotAuthenticated) as caught:
            before.who_am_i()
        assert caught.value.reason == "CERT_REVOKED"

        assert after.who_am_i().device.name == "phone"
        assert all(listener.thread.is_alive() for listener in kept)
        recorded = [one for one in ledger(owner) if one["kind"] == "certificate.revoked"]
        assert [one["body"]["serial"] for one in recorded] == [serial_of(old)]
    daemon.restart()
    assert reason(old, daemon) == "CERT_REVOKED"
    assert reason(new, daemon) == ""


def test_a_revoked_certificate_cannot_be_renewed_by_itself(shared_daemon: RunningDaemon) -> None:
    """Whoever holds only the revoked certificate gets no other."""
    home = shared_daemon.pair_device("renewing")
    old, _ = two_certificates(home)
    with certificates.client(shared_daemon, old) as client, shared_daemon.client() as owner:
        owner.revoke_certificate(serial_of(old))
        with pytest.raises(NotAuthenticated) as caught:
            client.renew_certificate(home)
    assert caught.value.reason == "CERT_REVOKED"
    assert reason(old, shared_daemon, RENEW) == "CERT_REVOKED"


@pytest.mark.parametrize("serial", ["", "0", "ff", "not hex", "a" * 5000])
def test_a_certificate_that_is_not_there_is_not_revoked(
    shared_daemon: RunningDaemon, serial: str
) -> None:
    """What is unknown, or was revoked before, is said to be so."""
    with shared_daemon.client() as owner, pytest.raises(NotFound) as caught:
        owner.revoke_certificate(serial)
    assert caught.value.reason == "UNKNOWN_CERTIFICATE"


def test_the_only_certificate_of_the_last_owner_stays(shared_daemon: RunningDaemon) -> None:
    """Revoking it would leave nobody; once it has another, the first may go."""
    with shared_daemon.client() as owner:
        *_, mine = local_device(owner).certificates
        others = [one.serial for one in local_device(owner).certificates if one != mine]
        assert others == []
        with pytest.raises(Conflict) as caught:
            owner.revoke_certificate(mine.serial)
        assert caught.value.reason == "LAST_OWNER"
        assert "renew" in caught.value.fix
        owner.renew_certificate(shared_daemon.home)
        owner.revoke_certificate(mine.serial)
        assert owner.who_am_i().device.name == "local"
        with pytest.raises(NotFound):
            owner.revoke_certificate(mine.serial)


def test_the_command_line_revokes_one_certificate(shared_daemon: RunningDaemon) -> None:
    """`devices show` gives the serials, `devices revoke --certificate` ends one."""
    old, new = two_certificates(shared_daemon.pair_device("tablet"))
    (shown,) = shared_daemon.cli("devices", "show", "tablet", "--json").lines()
    listed = shown["certificates"]
    assert isinstance(listed, list)
    assert {one["serial"] for one in listed} == {serial_of(old), serial_of(new)}
    answer = shared_daemon.cli("devices", "revoke", "--certificate", serial_of(old), "--json")
    assert answer.lines()[0]["serial"] == serial_of(old)
    assert reason(old, shared_daemon) == "CERT_REVOKED"
    assert reason(new, shared_daemon) == ""
    assert serial_of(old) in shared_daemon.cli("devices", "show", "tablet").out
    both = shared_daemon.cli("devices", "revoke", "tablet", "--certificate", serial_of(old))
    assert (both.status, shared_daemon.cli("devices", "revoke").status) == (2, 2)


def test_nothing_outlives_the_certificate_it_was_opened_with() -> None:
    """When it ends, open streams are cut within a second, and old connections serve no RPC."""
    with running(brief(device=LIFETIME)) as daemon:
        home = daemon.pair_device("short", "approvers", "auditors")
        # Not by `Client.open`, which would renew it.
        with certificates.client(daemon, Presented.of(home)) as client, streams(client) as open_:
            end = load_credentials(home.client).lifetime()[1].timestamp()
            assert client.who_am_i().device.name == "short"
            for listener in open_:
                error = listener.ended()
                assert error is not None
                assert (error.reason, error.grpc_code) == ("CERT_EXPIRED", "UNAUTHENTICATED")
            # Its last second belongs to it.
            assert end <= time.time() < end + 1 + SECOND
            for method in (client.who_am_i, client.status):
                with pytest.raises(NotAuthenticated) as caught:
                    method()
                assert caught.value.reason == "CERT_EXPIRED"


KEYS: dict[str, Callable[[], making.Key]] = {
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is to be refused
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_no_other_key_than_p256_is_certified(shared_daemon: RunningDaemon, kind: str) -> None:
    """Weak or unusual, at pairing and at renewal: refused by name, and nothing is issued."""
    request = making.csr(KEYS[kind]())
    with shared_daemon.client() as owner:
        before = len(local_device(owner).certificates)
        stub = device_pb2_grpc.DeviceServiceStub(
            certificates.channel(shared_daemon, Presented.of(shared_daemon.home))
        )
        with pytest.raises(grpc.RpcError) as caught:
            stub.RenewCertificate(
                device_pb2.RenewCertificateRequest(certificate_request=request), timeout=90
            )
        refused = raw_error(caught.value)
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "WEAK_KEY")
        assert len(local_device(owner).certificates) == before
        with invited(owner) as (code, events):
            with pytest.raises(grpc.RpcError) as caught:
                list(ask(code, request, bytes(32)))
            assert raw_error(caught.value).reason == "WEAK_KEY"
            assert next(events).closed.reason == "BAD_PROOF"


def test_a_renewal_for_another_key_is_its_own_devices(shared_daemon: RunningDaemon) -> None:
    """A renewal names the device of the connection, whatever subject and names were asked for."""
    home = shared_daemon.pair_device("modest")
    with shared_daemon.client() as owner, Client.open(home) as client:
        victim, mine = local_device(owner).device_id, local_device(client).device_id
        uri = making.uri(f"spiffe://{certificates.own_authority(shared_daemon).trust_domain}")
        names = [uri, making.uri(f"{uri.value}/device/{victim}"), x509.DNSName("daemon.stockade")]
        request = making.csr(making.p256(), subject=victim, names=names)
        with certificates.channel(shared_daemon, Presented.of(home)) as channel:
            answer = device_pb2_grpc.DeviceServiceStub(channel).RenewCertificate(
                device_pb2.RenewCertificateRequest(certificate_request=request), timeout=90
            )
    issued = x509.load_pem_x509_certificate(answer.certificate)
    found = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in found] == [f"{uri.value}/device/{mine}"]
    basics = issued.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basics.ca


def test_a_device_hoards_no_certificates(daemon: RunningDaemon) -> None:
    """Renewing for its own sake ends at a bound; what it has stays good; so for its agents."""
    home = daemon.pair_device("hoarder", "callers")
    bot = enroll_agent(daemon, "bot", home)
    for place in (home, bot.home):
        with Client.open(place) as client:
            for _ in range(MAX_GOOD_CERTIFICATES - 1):
                client.renew_certificate(place)
            with pytest.raises(StockadeError) as refused:
                client.renew_certificate(place)
            assert refused.value.reason == "TOO_MANY_CERTIFICATES"
            assert refused.value.fix
            assert client.who_am_i().principal
    with daemon.client() as owner:
        owner.renew_certificate(daemon.home)  # nobody else's business


def test_a_device_enrolls_only_so_many_agents_in_a_day(daemon: RunningDaemon) -> None:
    """Each that is replaced is kept for good: a manifest that changes for ever fills nothing."""
    with daemon.client() as client:
        request = certificate_request(certificates.key_of(daemon.home))
        with pytest.raises(StockadeError) as refused:
            [
                client.enroll_agent("bot", manifest_text("bot", version=str(n)).encode(), request)
                for n in range(MAX_ENROLLED_IN_A_DAY + 1)
            ]
        assert refused.value.reason == "TOO_MANY_AGENTS"
        assert len(client.list_agents()) == MAX_ENROLLED_IN_A_DAY
