"""Attacks on the connection: who is at the other end is settled before anything is served."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from identity.authority import Authority
from stockade.client import Client
from stockade.errors import DaemonUnreachable
from stockade.v1 import device_pb2, device_pb2_grpc
from tests.attacks import certificates
from tests.attacks.certificates import DAY, Presented, device_uri, presented
from tests.attacks.probing import converse, newest, raw_error, send, sequence
from tests.running import RunningDaemon, local_device

SECONDS = 120


def who_am_i(channel: grpc.Channel, *metadata: tuple[str, str]) -> device_pb2.WhoAmIResponse:
    """The plainest RPC there is: every paired device may ask it."""
    stub = device_pb2_grpc.DeviceServiceStub(channel)
    return stub.WhoAmI(device_pb2.WhoAmIRequest(), timeout=SECONDS, metadata=metadata)


@pytest.fixture(scope="module")
def me(owner: Client) -> str:
    """The id of the owner's device."""
    return local_device(owner).device_id


Forge = Callable[[RunningDaemon, Authority, str], Presented]

# TLS itself turns these away: the daemon's own code is never reached.
TURNED_AWAY: dict[str, Forge] = {
    "another authority's": lambda _, ca, me: presented(certificates.other_authority(ca), me),
    "expired": lambda _, ca, me: presented(ca, me, begins=-2 * DAY, ends=-DAY),
    "not yet valid": lambda _, ca, me: presented(ca, me, begins=DAY, ends=2 * DAY),
    "the server's own kind": lambda _, ca, __: certificates.server_certificate(ca),
    "signed by a device": lambda daemon, _, me: certificates.signed_by_a_device(daemon, me),
}


@pytest.mark.parametrize("which", TURNED_AWAY)
def test_a_certificate_that_is_not_good_opens_no_connection(
    shared_daemon: RunningDaemon, owner: Client, me: str, which: str
) -> None:
    """A certificate of another authority, out of its time or for another use serves nobody."""
    before = sequence(owner)
    shown = TURNED_AWAY[which](shared_daemon, certificates.own_authority(shared_daemon), me)
    with certificates.client(shared_daemon, shown) as stranger:
        with pytest.raises(DaemonUnreachable) as caught:
            stranger.who_am_i()
        with pytest.raises(DaemonUnreachable):
            list(stranger.call("read_file", {"workspace": "work", "path": "hello.txt"}))
    assert caught.value.reason == "HANDSHAKE_FAILED"
    assert "pair" in caught.value.fix
    assert sequence(owner) == before


def test_no_certificate_opens_no_connection(shared_daemon: RunningDaemon, owner: Client) -> None:
    """A client that shows no certificate gets not one RPC, not even the health check."""
    before = sequence(owner)
    with (
        certificates.channel(shared_daemon, None) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        who_am_i(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert sequence(owner) == before


def test_plaintext_opens_no_connection(shared_daemon: RunningDaemon, owner: Client) -> None:
    """A client that speaks gRPC without TLS gets nothing."""
    before = sequence(owner)
    with (
        grpc.insecure_channel(shared_daemon.address, [("grpc.enable_http_proxy", 0)]) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        who_am_i(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert sequence(owner) == before


# The authority signed these, so TLS lets them through; the daemon has never issued them.
REFUSED: dict[str, tuple[str, Callable[[Authority, str], Presented]]] = {
    "not registered": ("CERT_UNKNOWN", lambda ca, _: presented(ca)),
    "another device's name, a foreign key": ("CERT_UNKNOWN", presented),
    "another device in the common name": (
        "CERT_UNKNOWN",
        lambda ca, me: presented(ca, subject=me),
    ),
    "another device in the common name alone": (
        "SAN_MISSING",
        lambda ca, me: presented(ca, names=[], subject=me),
    ),
    "two names": (
        "SAN_AMBIGUOUS",
        lambda ca, me: presented(ca, names=[device_uri(ca, "dev-" + 16 * "a"), device_uri(ca, me)]),
    ),
    "the name in another case": (
        "SAN_MALFORMED",
        lambda ca, me: presented(ca, names=[device_uri(ca, me.upper())]),
    ),
    "for clients and servers": (
        "CERT_NOT_CLIENT",
        lambda ca, me: presented(
            ca, me, usages=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        ),
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_a_certificate_that_was_never_issued_names_nobody(
    shared_daemon: RunningDaemon, owner: Client, me: str, which: str
) -> None:
    """With the authority's key stolen, what the registry does not know is still refused."""
    reason, forge = REFUSED[which]
    before = sequence(owner)
    shown = forge(certificates.own_authority(shared_daemon), me)
    with (
        certificates.channel(shared_daemon, shown) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        who_am_i(channel)
    error = raw_error(caught.value)
    assert error.code is grpc.StatusCode.UNAUTHENTICATED
    assert (error.domain, error.reason) == ("stockade", reason)
    assert error.fix
    assert sequence(owner) == before + 1
    refusal = newest(owner)
    assert refusal["kind"] == "rpc.refused"
    assert refusal["body"]["principal"] == "unknown"
    assert refusal["body"]["reason"] == reason
    assert refusal["body"]["rpc"] == "/stockade.v1.DeviceService/WhoAmI"


def test_the_health_check_too_needs_a_registered_certificate(
    shared_daemon: RunningDaemon,
) -> None:
    """No RPC is open to strangers: health and reflection ask for the certificate as well."""
    shown = presented(certificates.own_authority(shared_daemon))
    with certificates.channel(shared_daemon, shown) as channel:
        for method in (
            "/grpc.health.v1.Health/Check",
            "/stockade.v1.DaemonService/GetStatus",
            "/No",
        ):
            with pytest.raises(grpc.RpcError) as caught:
                send(channel, method)
            assert raw_error(caught.value).reason == "CERT_UNKNOWN"
        with pytest.raises(grpc.RpcError) as caught:
            converse(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        assert raw_error(caught.value).reason == "CERT_UNKNOWN"


CLAIMS = (
    ("x-principal", "device/dev-aaaaaaaaaaaaaaaa"),
    ("x-forwarded-client-cert", 'Subject="CN=owner";URI=spiffe://x/device/owner'),
    ("x-ssl-client-s-dn", "CN=owner"),
    ("authorization", "Bearer owner"),
    ("x-groups", "owners"),
    ("role", "admin"),
)


def test_what_metadata_claims_changes_nothing(
    shared_daemon: RunningDaemon, owner: Client, me: str
) -> None:
    """No header makes a device another: the principal and its groups are the certificate's."""
    home = shared_daemon.pair_device("claimant")
    shown = Presented.of(home)
    with certificates.channel(shared_daemon, shown) as channel:
        plain = who_am_i(channel)
        claims = (*CLAIMS, ("x-principal", f"device/{me}"))
        assert who_am_i(channel, *claims) == plain
        assert plain.device.device_id != me
        assert list(plain.device.groups) == []
        stub = device_pb2_grpc.DeviceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RevokeDevice(
                device_pb2.RevokeDeviceRequest(device_id=me), timeout=SECONDS, metadata=claims
            )
    assert raw_error(caught.value).reason == "NOT_PERMITTED"
    assert newest(owner)["body"]["principal"] == plain.principal


def test_the_local_command_line_says_what_to_do_about_its_certificate(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """A device without credentials, or with ended ones, learns so before it dials anybody."""
    home = shared_daemon.pair_device("ended")
    authority = certificates.own_authority(shared_daemon)
    ended = presented(
        authority,
        begins=-2 * DAY,
        ends=-DAY,
        key=certificates.key_of(home),
    )
    (home.client / "certificate.pem").write_bytes(ended.certificate)
    answer = shared_daemon.cli("status", home=home)
    assert answer.status != 0
    assert "CERTIFICATE_EXPIRED" in answer.err
    assert "fix: " in answer.err
    answer = shared_daemon.cli("status", home=type(home).under(tmp_path))
    assert answer.status != 0
    assert "NOT_PAIRED" in answer.err
    assert "fix: " in answer.err
