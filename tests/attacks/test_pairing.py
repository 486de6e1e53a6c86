"""Pairing, attacked: whoever lacks the code, or the person's yes, does not get a certificate."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from identity.validity import SKEW
from stockade.client import Client
from stockade.credentials import certificate_request, make_key, public_key_info
from stockade.errors import NotPermitted, StockadeError
from stockade.home import Home
from stockade.pairing import listener_certificate, pair
from stockade.pairing_code import SERVER_NAME, PairingCode, parse_pairing_code
from stockade.v1 import device_pb2, device_pb2_grpc
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import raw_error
from tests.identity import making
from tests.running import RunningDaemon, local_device


@contextmanager
def invited(client: Client) -> Iterator[tuple[PairingCode, Iterator[device_pb2.InviteDeviceEvent]]]:
    """An open invitation: its code, and the events that follow."""
    events = client.invite_device("phone", ["approvers"])
    stream = iter(events)
    code = parse_pairing_code(next(stream).opened.pairing_code)
    try:
        yield code, stream
    finally:
        events.cancel()


def ask(code: PairingCode, csr: bytes, proof: bytes) -> Iterator[device_pb2.PairEvent]:
    """The device's RPC, with whatever request and proof."""
    credentials = grpc.ssl_channel_credentials(root_certificates=listener_certificate(code))
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(code.address, credentials, options=options) as channel:
        request = device_pb2.PairRequest(
            invitation_id=code.invitation_id, certificate_request=csr, proof=proof
        )
        yield from device_pb2_grpc.PairingServiceStub(channel).Pair(request, timeout=90)


def refused(code: PairingCode, csr: bytes, proof: bytes) -> grpc.StatusCode:
    """How the daemon refuses it."""
    with pytest.raises(grpc.RpcError) as error:
        list(ask(code, csr, proof))
    return error.value.code()


def reason_of_silence(code: PairingCode) -> str:
    """Why the listener does not answer, once it does not."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            listener_certificate(code)
        except StockadeError as error:
            return error.reason
        time.sleep(0.1)
    return "it still answers"


def new_key() -> tuple[bytes, bytes]:
    """A certificate request and the fingerprint of its key."""
    key = make_key()
    return certificate_request(key), hashlib.sha256(public_key_info(key)).digest()


def test_a_wrong_proof_ends_the_invitation(shared_daemon: RunningDaemon) -> None:
    """A guessed code is refused, and the right code is worth nothing afterwards."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        csr, spki = new_key()
        guessed = replace(code, secret=bytes(16)).proof(spki)
        assert refused(code, csr, guessed) is grpc.StatusCode.PERMISSION_DENIED
        assert next(events).closed.reason == "BAD_PROOF"
        with pytest.raises((grpc.RpcError, StockadeError)):
            list(ask(code, csr, code.proof(spki)))


def test_a_replayed_proof_is_refused(shared_daemon: RunningDaemon) -> None:
    """The very request that was right, sent again: while its device waits, and after a no.

    Nor is it right at any other invitation.
    """
    with shared_daemon.client() as client:
        with invited(client) as (code, events):
            csr, spki = new_key()
            proof = code.proof(spki)
            honest = ask(code, csr, proof)
            words = next(honest).waiting.words
            assert refused(code, csr, proof) is grpc.StatusCode.PERMISSION_DENIED
            assert next(events).waiting.words == words  # the honest device waits on
            client.confirm_pairing(code.invitation_id, words, accept=False)
            with pytest.raises(grpc.RpcError):
                list(honest)
            with pytest.raises((grpc.RpcError, StockadeError)):
                list(ask(code, csr, proof))
        with invited(client) as (other, events):
            assert refused(other, csr, proof) is grpc.StatusCode.PERMISSION_DENIED
            assert next(events).closed.reason == "BAD_PROOF"


def test_a_swapped_request_is_refused(shared_daemon: RunningDaemon) -> None:
    """The honest device's key and proof in a request that another key has signed certify nobody."""
    honest, attacker = make_key(), make_key()
    swapped = making.csr(making.posing_as(honest.public_key(), attacker))
    proof = hashlib.sha256(public_key_info(honest)).digest()
    with shared_daemon.client() as client, invited(client) as (code, events):
        with pytest.raises(grpc.RpcError) as caught:
            list(ask(code, swapped, code.proof(proof)))
        assert raw_error(caught.value).reason == "CSR_SIGNATURE_INVALID"
        assert next(events).closed.reason == "BAD_PROOF"


def test_a_proof_for_another_key_is_refused(shared_daemon: RunningDaemon) -> None:
    """A proof that was seen on the wire cannot be used for the attacker's own key."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        _, honest = new_key()
        csr, _ = new_key()
        assert refused(code, csr, code.proof(honest)) is grpc.StatusCode.PERMISSION_DENIED
        assert next(events).closed.reason == "BAD_PROOF"


def test_a_proof_for_another_listener_is_refused(shared_daemon: RunningDaemon) -> None:
    """A man in the middle with a certificate of their own cannot relay the device's proof."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        csr, spki = new_key()
        relayed = replace(code, certificate_fingerprint=bytes(32)).proof(spki)
        assert refused(code, csr, relayed) is grpc.StatusCode.PERMISSION_DENIED
        assert next(events).closed.reason == "BAD_PROOF"


def test_a_device_does_not_talk_to_another_listener(shared_daemon: RunningDaemon) -> None:
    """A code whose fingerprint is not the listener's is refused by the device, before any proof."""
    with shared_daemon.client() as client, invited(client) as (code, _):
        other = replace(code, certificate_fingerprint=bytes(32))
        with pytest.raises(StockadeError) as error:
            listener_certificate(other)
        assert error.value.reason == "WRONG_LISTENER"


def test_the_second_device_with_a_stolen_code_is_refused(shared_daemon: RunningDaemon) -> None:
    """Of two devices that know the code one waits for the person, and the other is refused."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        first_csr, first = new_key()
        stream = ask(code, first_csr, code.proof(first))
        shown = next(stream).waiting.words
        second_csr, second = new_key()
        status = refused(code, second_csr, code.proof(second))
        assert status is grpc.StatusCode.PERMISSION_DENIED
        assert next(events).waiting.words == shown
        client.confirm_pairing(code.invitation_id, shown, accept=False)
        with pytest.raises(grpc.RpcError):
            list(stream)
        assert next(events).closed.reason == "REFUSED"


def test_the_words_must_be_those_of_the_device_that_waits(shared_daemon: RunningDaemon) -> None:
    """A yes with the words of another key confirms nothing."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        csr, spki = new_key()
        stream = ask(code, csr, code.proof(spki))
        shown = next(stream).waiting.words
        with pytest.raises(StockadeError) as error:
            client.confirm_pairing(code.invitation_id, f"{shown}-not", accept=True)
        assert error.value.reason == "WORDS_DIFFER"
        client.confirm_pairing(code.invitation_id, shown, accept=True)
        assert [event.paired.name for event in stream] == ["phone"]
        assert [event.WhichOneof("event") for event in events] == ["waiting", "closed"]


def test_a_code_is_used_once(shared_daemon: RunningDaemon) -> None:
    """After a device was paired its code is worth nothing, and its listener is gone."""
    with shared_daemon.client() as client, invited(client) as (code, events):
        csr, spki = new_key()
        stream = ask(code, csr, code.proof(spki))
        client.confirm_pairing(code.invitation_id, next(stream).waiting.words, accept=True)
        assert len(list(stream)) == 1
        assert list(events)[-1].closed.reason == "PAIRED"
        with pytest.raises(StockadeError):
            listener_certificate(code)


def test_the_requests_subject_and_extensions_are_ignored(shared_daemon: RunningDaemon) -> None:
    """It asks for another's name and for an authority's rights: it gets a device's, for a day.

    The name is the one it was invited as, the id the daemon's choice, the key its own on P-256.
    """
    key = make_key()
    fingerprint = hashlib.sha256(public_key_info(key)).digest()
    with shared_daemon.client() as client, invited(client) as (code, _):
        victim, authority = (
            local_device(client).device_id,
            certificates.own_authority(shared_daemon),
        )
        names = [certificates.device_uri(authority, victim), x509.DNSName("daemon.stockade")]
        stream = ask(code, making.csr(key, subject=victim, names=names), code.proof(fingerprint))
        client.confirm_pairing(code.invitation_id, next(stream).waiting.words, accept=True)
        [paired] = [event.paired for event in stream]
        [device] = [one for one in client.list_devices() if one.device_id == paired.device_id]
    assert device.device_id != victim
    assert (device.name, list(device.groups)) == ("phone", ["approvers"])
    issued = x509.load_pem_x509_certificate(paired.certificate)
    found = issued.extensions
    own = certificates.device_uri(authority, device.device_id)
    assert list(found.get_extension_for_class(x509.SubjectAlternativeName).value) == [own]
    assert victim not in issued.subject.rfc4514_string()
    usages = found.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    certified = issued.public_key()
    assert isinstance(certified, ec.EllipticCurvePublicKey)
    assert isinstance(certified.curve, ec.SECP256R1)
    assert certified == key.public_key()
    lifetime = issued.not_valid_after_utc - issued.not_valid_before_utc
    assert lifetime == timedelta(hours=24) + SKEW


def test_of_two_devices_that_race_one_waits_and_the_other_is_refused(
    shared_daemon: RunningDaemon,
) -> None:
    """Two right proofs at one moment: one is shown to the person, whose yes lets in that one."""

    def come(code: PairingCode, together: threading.Barrier) -> list[str]:
        csr, spki = new_key()
        together.wait(90)
        try:
            stream = ask(code, csr, code.proof(spki))
            said = [next(stream).waiting.words]
            return said + [event.paired.device_id for event in stream]
        except grpc.RpcError as error:
            return [raw_error(error).reason]

    with shared_daemon.client() as client, ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            before = {one.device_id for one in client.list_devices()}
            with invited(client) as (code, events):
                together = threading.Barrier(2)
                both = [threads.submit(come, code, together) for _ in range(2)]
                words = next(events).waiting.words
                [loser], [winner] = wait(both, 90, FIRST_COMPLETED)
                assert loser.result() == ["PAIRING_REFUSED"]
                client.confirm_pairing(code.invitation_id, words, accept=True)
                shown, device_id = winner.result(90)
                assert shown == words
                assert [event.closed.reason for event in events] == ["PAIRED"]
            assert {one.device_id for one in client.list_devices()} - before == {device_id}


def test_an_invitation_ends_when_its_inviter_goes(shared_daemon: RunningDaemon) -> None:
    """The listener exists only while somebody waits at the invitation."""
    with shared_daemon.client() as client:
        with invited(client) as (code, _):
            assert listener_certificate(code)
        assert reason_of_silence(code) == "PAIRING_UNREACHABLE"


def test_the_code_is_logged_nowhere(daemon: RunningDaemon) -> None:
    """Neither the code nor its secret is in the log or the ledger, also after a wrong proof."""
    with daemon.client() as client:
        with invited(client) as (code, _):
            csr, spki = new_key()
            refused(code, csr, replace(code, secret=bytes(16)).proof(spki))
        kept = b"".join(part.lines for part in client.export_ledger())
    text = code.text().removeprefix("stockade-pair-1:")
    assert "pairing.bad_proof" in daemon.log
    assert text not in daemon.log
    assert code.secret.hex() not in daemon.log
    assert text.encode() not in kept
    assert code.secret.hex().encode() not in kept


def test_a_paired_folder_is_not_overwritten(shared_daemon: RunningDaemon) -> None:
    """Pairing into a home that holds a device already is refused before anything is sent."""
    home: Home = shared_daemon.home
    with shared_daemon.client() as client, invited(client) as (code, _):
        with pytest.raises(StockadeError) as error:
            pair(code.text(), home.client, waiting=lambda _: None)
        assert error.value.reason == "ALREADY_PAIRED"


def test_one_word_is_taken_and_no_other(shared_daemon: RunningDaemon) -> None:
    """Of a no and many a yes at once exactly one counts, and what it says happens."""
    with (
        shared_daemon.client() as client,
        certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel,
    ):
        stub = device_pb2_grpc.DeviceServiceStub(channel)
        stub.WhoAmI(device_pb2.WhoAmIRequest())
        for _ in range(3):
            with invited(client) as (code, events):
                csr, spki = new_key()
                stream = ask(code, csr, code.proof(spki))
                words = next(stream).waiting.words
                said = (False, *[True] * 20)
                answers = [
                    stub.ConfirmPairing.future(
                        device_pb2.ConfirmPairingRequest(
                            invitation_id=code.invitation_id, accept=accept, words=words
                        )
                    )
                    for accept in said
                ]
                taken = [
                    accept
                    for accept, answer in zip(said, answers, strict=True)
                    if answer.exception() is None
                ]
                assert len(taken) == 1
                end = [event.closed.reason for event in events][-1]
                assert end == ("PAIRED" if taken[0] else "REFUSED")


def test_words_of_any_alphabet_are_compared(shared_daemon: RunningDaemon) -> None:
    """What no word list has is another key's, not a defect of the daemon."""
    with shared_daemon.client() as client, invited(client) as (code, _):
        csr, spki = new_key()
        stream = ask(code, csr, code.proof(spki))
        next(stream)
        with pytest.raises(StockadeError) as error:
            client.confirm_pairing(code.invitation_id, "\u00e9t\u00e9-\u590f", accept=True)
        assert error.value.reason == "WORDS_DIFFER"


def test_who_may_invite_no_more_lets_nobody_in(shared_daemon: RunningDaemon) -> None:
    """An inviter is demoted while its device waits; another owner's yes pairs nothing any more."""
    home = shared_daemon.pair_device("second", "owners")
    with shared_daemon.client() as owner, Client.open(home) as second:
        second_id = local_device(second).device_id
        with invited(second) as (code, events):
            csr, spki = new_key()
            stream = ask(code, csr, code.proof(spki))
            words = next(stream).waiting.words
            assert next(events).waiting.words == words
            before = {one.device_id for one in owner.list_devices()}
            owner.set_device_groups(second_id, [])
            owner.confirm_pairing(code.invitation_id, words, accept=True)
            with pytest.raises(grpc.RpcError) as refused_device:
                list(stream)
            assert refused_device.value.code() is grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(NotPermitted):
                list(events)
        assert {one.device_id for one in owner.list_devices()} == before
        owner.revoke_device(second_id)
