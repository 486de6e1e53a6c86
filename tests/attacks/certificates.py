"""Keys and certificates an attacker might bring, and raw channels that present them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from identity.authority import Authority
from identity.names import DeviceId, TrustDomain
from stockade.client import Client
from stockade.connection import SERVER_NAME, Connection, secure_channel
from stockade.credentials import load_credentials
from stockade.home import Home
from stockade.pairing import _shown
from tests.identity import making
from tests.running import RunningDaemon

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Presented:
    """What a client presents in the handshake."""

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)

    @classmethod
    def of(cls, home: Home) -> "Presented":
        """What the device of a home presents."""
        credentials = load_credentials(home.client)
        return cls(credentials.key_bytes, credentials.certificate)


def key_of(home: Home) -> ec.EllipticCurvePrivateKey:
    """The private key of a home's device."""
    return load_credentials(home.client).key


def own_authority(daemon: RunningDaemon) -> Authority:
    """The installation's own authority, as somebody who stole its key would have it."""
    data = daemon.home.data
    return Authority.load(
        (data / "authority.key").read_bytes(), (data / "authority.pem").read_bytes()
    )


def other_authority(authority: Authority) -> Authority:
    """Another authority that claims the same trust domain."""
    return Authority.create(TrustDomain(authority.trust_domain), datetime.now(UTC))


def device_uri(authority: Authority, device_id: str) -> x509.UniformResourceIdentifier:
    """The name of a device of this installation."""
    return making.uri(f"spiffe://{authority.trust_domain}/device/{device_id}")


def presented(
    authority: Authority,
    device_id: str | None = None,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    names: Sequence[x509.GeneralName] | None = None,
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    subject: str = "device",
    begins: timedelta = -DAY,
    ends: timedelta = DAY,
) -> Presented:
    """A certificate by that authority, otherwise in the form of a device's; times are from now."""
    now, key = datetime.now(UTC), key or making.p256()
    device_id = device_id or str(DeviceId.generate())
    certificate = making.certificate(
        authority,
        key=key,
        names=[device_uri(authority, device_id)] if names is None else names,
        usages=usages,
        subject=subject,
        window=(now + begins, now + ends),
    )
    return Presented(making.private_pem(key), certificate)


def server_certificate(authority: Authority) -> Presented:
    """A certificate as the daemon itself has one."""
    key = making.p256()
    issued = authority.issue_server(
        making.public_pem(key), [SERVER_NAME], [], datetime.now(UTC), DAY
    )
    return Presented(making.private_pem(key), issued.pem)


def signed_by_a_device(daemon: RunningDaemon, device_id: str) -> Presented:
    """A certificate for that device, signed by another device's key, with the chain up to it."""
    own, authority = load_credentials(daemon.home.client), own_authority(daemon)
    forger = Authority(authority.trust_domain, authority.certificate, own.key)
    forged = presented(forger, device_id)
    return Presented(forged.key, forged.certificate + own.certificate)


def channel(daemon: RunningDaemon, client: Presented | None) -> grpc.Channel:
    """A channel that trusts the daemon and presents that, or nothing."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(daemon.home.data / "authority.pem").read_bytes(),
        private_key=client.key if client else None,
        certificate_chain=client.certificate if client else None,
    )
    return secure_channel(daemon.address, credentials, SERVER_NAME)


def shown_by(daemon: RunningDaemon) -> x509.Certificate:
    """The daemon's own certificate, as a handshake shows it now."""
    host, _, port = daemon.address.rpartition(":")
    return x509.load_der_x509_certificate(_shown(host, int(port)))


def unbounded_channel(daemon: RunningDaemon) -> grpc.Channel:
    """A channel of the local device that sends messages of any size."""
    own = Presented.of(daemon.home)
    credentials = grpc.ssl_channel_credentials(
        (daemon.home.data / "authority.pem").read_bytes(), own.key, own.certificate
    )
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_send_message_length", -1),
    ]
    return grpc.secure_channel(daemon.address, credentials, options=options)


def client(daemon: RunningDaemon, shown: Presented) -> Client:
    """The client library, made to present that."""
    key = serialization.load_pem_private_key(shown.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    own = load_credentials(daemon.home.client)
    credentials = replace(own, key=key, certificate=shown.certificate)
    return Client(Connection(daemon.address, credentials), credentials)
