"""The key, certificate and profile of this device: the folder `Home.client`.

The private key is made here, stays here and is refused if anyone else could have read it. A
certificate is only ever accepted for that key. Certificate and profile may be replaced (renewal);
the key outlives them. Raises `CredentialsError` and nothing else.
"""

import json
import os
import stat
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.errors import CredentialsError
from stockade.files import make_private_folder, write_whole

KEY = "key.pem"
CERTIFICATE = "certificate.pem"
AUTHORITY = "authority.pem"
PROFILE = "device.json"

# The daemon dates a certificate back by so much, for clocks that are slow.
BACKDATED = timedelta(minutes=2)

_MAX_FILE = 64 * 1024
_PAIR_FIRST = "run `stockade up` for a daemon on this machine, or `stockade pair CODE` for another"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this device connects and signs with."""

    device_id: str
    name: str
    # None: the daemon of this home, wherever `Home.endpoint` says it listens.
    address: str | None
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: bytes = field(repr=False)
    # One certificate or more: all the authorities to trust.
    authority: bytes = field(repr=False)
    # For an agent: its id, when `device_id` and `name` are its device's id and its own name.
    agent_id: str | None = None
    # Where the daemon of this machine that enrolled it writes down where it listens.
    endpoint: Path | None = None

    @property
    def key_bytes(self) -> bytes:
        """The private key in the form TLS takes. Never sent, logged or shown."""
        return _encode_key(self.key)

    def lifetime(self) -> tuple[datetime, datetime]:
        """From when until when the certificate is good."""
        parsed = _parse_certificate(self.certificate)
        return parsed.not_valid_before_utc, parsed.not_valid_after_utc

    def expired(self, now: datetime) -> bool:
        """The daemon would not accept the certificate any more."""
        return now >= self.lifetime()[1]

    def renewal_time(self) -> datetime:
        """When half of the certificate's life is over."""
        start, end = self.lifetime()
        issued = min(start + BACKDATED, end)
        return issued + (end - issued) / 2

    def renewal_due(self, now: datetime) -> bool:
        """More than half of the certificate's life is over."""
        return now > self.renewal_time()

    def renewed(self, certificate: bytes, authority: bytes) -> "Credentials":
        """The same device with a new certificate, which must be for the same key."""
        return checked(replace(self, certificate=certificate, authority=authority))


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS#10 request in PEM. It proves possession of the key; its subject says nothing."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key_info(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER SubjectPublicKeyInfo, which fingerprints and words are made from."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def checked(credentials: Credentials) -> Credentials:
    """The credentials if key, certificate and authority belong together, else an error."""
    certificate = _parse_certificate(credentials.certificate)
    own = credentials.key.public_key()
    if certificate.public_key() != own:
        raise CredentialsError(
            "the certificate is not for this device's key", reason="CERTIFICATE_MISMATCH",
            fix=_PAIR_FIRST,
        )  # fmt: skip
    if not any(_issued(certificate, one) for one in _parse_certificates(credentials.authority)):
        raise CredentialsError(
            "the certificate was not issued by the authority that came with it",
            reason="CERTIFICATE_MISMATCH",
            fix=_PAIR_FIRST,
        )
    return credentials


def load_credentials(folder: Path) -> Credentials:
    """The credentials of this device, checked."""
    if not (folder / PROFILE).exists():
        raise CredentialsError(
            f"this device is not paired with any daemon: there is no {folder / PROFILE}",
            reason="NOT_PAIRED",
            fix=_PAIR_FIRST,
        )
    profile = _load_profile(folder / PROFILE)
    return checked(
        Credentials(
            device_id=profile["device_id"],
            name=profile["name"],
            address=profile["address"],
            key=load_key(folder / KEY),
            certificate=_read(folder / CERTIFICATE),
            authority=_read(folder / AUTHORITY),
            agent_id=profile.get("agent_id"),
            endpoint=Path(profile["endpoint"]) if profile.get("endpoint") else None,
        )
    )


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key that only this user could have read."""
    data = _read(path, private=True)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise CredentialsError(
            f"{path} holds no private key", reason="KEY_INVALID", fix=_PAIR_FIRST
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CredentialsError(
            f"{path} is not an ECDSA P-256 key", reason="KEY_INVALID", fix=_PAIR_FIRST
        )
    return key


def ensure_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The key of this device; made, if there is none."""
    path = folder / KEY
    if path.exists():
        return load_key(path)
    key = make_key()
    try:
        make_private_folder(folder)
        write_whole(path, _encode_key(key))
    except OSError as error:
        raise _unwritable(folder, error) from None
    return key


def save_credentials(folder: Path, credentials: Credentials) -> None:
    """Stores all, each file whole; the profile last, because it says that they are there."""
    profile = {
        "device_id": credentials.device_id,
        "name": credentials.name,
        "address": credentials.address,
    }
    if credentials.agent_id is not None:
        profile["agent_id"] = credentials.agent_id
    if credentials.endpoint is not None:
        profile["endpoint"] = str(credentials.endpoint)
    try:
        make_private_folder(folder)
        write_whole(folder / KEY, credentials.key_bytes)
        save_certificate(folder, credentials)
        write_whole(folder / PROFILE, json.dumps(profile, indent=2).encode() + b"\n")
    except OSError as error:
        raise _unwritable(folder, error) from None


def save_certificate(folder: Path, credentials: Credentials) -> None:
    """Replaces certificate and authority after a renewal. Each is whole whenever it is read."""
    try:
        write_whole(folder / AUTHORITY, credentials.authority)
        write_whole(folder / CERTIFICATE, credentials.certificate)
    except OSError as error:
        raise _unwritable(folder, error) from None


def now() -> datetime:
    """The clock that certificates are judged by, where nobody passes another."""
    return datetime.now(UTC)


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _parse_certificate(data: bytes) -> x509.Certificate:
    return _parse_certificates(data)[0]


def _parse_certificates(data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CredentialsError(
            "what should be a certificate is none", reason="CERTIFICATE_INVALID", fix=_PAIR_FIRST
        ) from None


def _load_profile(path: Path) -> dict[str, Any]:
    try:
        profile = json.loads(_read(path))
    except (ValueError, RecursionError):
        profile = None
    texts = ("device_id", "name")
    if (
        not isinstance(profile, dict)
        or not all(isinstance(profile.get(key), str) for key in texts)
        or not isinstance(profile.get("address", 0), str | None)
        or not all(isinstance(profile.get(key), str | None) for key in ("agent_id", "endpoint"))
    ):
        raise CredentialsError(
            f"{path} is not a device profile", reason="PROFILE_INVALID", fix=_PAIR_FIRST
        )
    return profile


def _read(path: Path, *, private: bool = False) -> bytes:
    """A small file of this user's own; with `private`, one that nobody else could open."""
    try:
        # The checks are on the open descriptor: a path could be swapped between check and read.
        flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_NOFOLLOW if private else 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            if private:
                _refuse_shared(path, os.fstat(file.fileno()))
            return file.read(_MAX_FILE)
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be read: {error.strerror}", reason="FILE_UNREADABLE", fix=_PAIR_FIRST
        ) from None


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise CredentialsError(
            f"{path} can be opened by others than its owner", reason="KEY_READABLE",
            fix=f"run `chmod 600 {path}`; if others use this machine, pair again with a new key",
        )  # fmt: skip
    if status.st_uid != os.geteuid():
        raise CredentialsError(
            f"{path} belongs to another user", reason="KEY_FOREIGN",
            fix="run stockade as the user who paired this device",
        )  # fmt: skip


def _unwritable(folder: Path, error: OSError) -> CredentialsError:
    return CredentialsError(
        f"{folder} cannot be written: {error.strerror}", reason="FOLDER_UNWRITABLE",
        fix="make the folder writable for this user, or set STOCKADE_HOME to another",
    )  # fmt: skip
