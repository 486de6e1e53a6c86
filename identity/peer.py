"""From the verified client certificate of a connection to a principal.

Trusted to be the only place where a caller gets a name. TLS has already checked the signature
chain up to our authority; this module checks everything TLS does not: that the certificate is for
a client and for nothing else, and that it names exactly one principal of our trust domain. The
subject is never read, whatever its common name says. Any other shape than the one
`identity.authority` issues is refused with `PeerError`, even where RFC 5280 would be content:
a certificate of ours that looks different is not ours.

Connections outlive handshakes: `Peer.valid_at` answers again for every call.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from identity.authoritycert import issuer_name
from identity.errors import Code, NamingError, PeerError
from identity.fingerprint import Fingerprint, spki_fingerprint
from identity.names import PrincipalName, Serial, TrustDomain, parse_spiffe, serial_of
from identity.publickey import PARSE_ERRORS, one_pem, require_p256, spki_der
from identity.validity import Validity, in_utc

_PAIR: Final = "pair this client again: `stockade pair CODE`"


@final
@dataclass(frozen=True, slots=True)
class Peer:
    """The principal at the other end of a connection, and the certificate that says so."""

    name: PrincipalName
    serial: Serial
    spki_sha256: Fingerprint
    not_before: datetime
    not_after: datetime
    issuer: str

    def valid_at(self, now: datetime) -> bool:
        """Tell whether the certificate is inside its validity window at `now`."""
        return Validity(self.not_before, self.not_after).covers(now)


def parse_peer(pem: bytes, trust_domain: TrustDomain, now: datetime) -> Peer:
    """Read the principal from a client certificate that TLS has verified."""
    certificate = one_pem(pem, "CERTIFICATE", x509.load_pem_x509_certificate, PeerError)
    try:
        extensions = certificate.extensions
        key = require_p256(certificate.public_key(), PeerError)
        validity = Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        issuer = issuer_name(certificate.issuer)
    except PARSE_ERRORS:
        raise PeerError(
            Code.MALFORMED, "the certificate's extensions, key or dates cannot be read", _PAIR
        ) from None
    if certificate.serial_number < 1:  # RFC 5280 4.1.2.2; the registry knows no such serial
        raise PeerError(Code.MALFORMED, "the certificate's serial number is not positive", _PAIR)
    _check_window(validity, now)
    _check_not_authority(extensions)
    _check_client_only(extensions)
    return Peer(
        _principal(extensions, trust_domain),
        serial_of(certificate.serial_number),
        spki_fingerprint(spki_der(key)),
        validity.not_before,
        validity.not_after,
        issuer,
    )


def _check_window(validity: Validity, now: datetime) -> None:
    moment = in_utc(now)
    if moment < validity.not_before:
        raise PeerError(
            Code.CERT_NOT_YET_VALID,
            f"the certificate is valid only from {validity.not_before}",
            "set the clocks of both machines (NTP)",
        )
    if moment > validity.not_after:
        raise PeerError(Code.CERT_EXPIRED, f"the certificate ended at {validity.not_after}", _PAIR)


def _check_not_authority(extensions: x509.Extensions) -> None:
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise PeerError(
            Code.MALFORMED, "the certificate does not say what its key may do", _PAIR
        ) from None
    if constraints.ca or usage.key_cert_sign:
        raise PeerError(Code.CERT_IS_CA, "the certificate is an authority's", _PAIR)


def _check_client_only(extensions: x509.Extensions) -> None:
    try:
        usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = []
    # Exactly clientAuth: anyExtendedKeyUsage and clientAuth with serverAuth are refused too.
    if usages != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise PeerError(
            Code.CERT_NOT_CLIENT, "the certificate is not for clients, and only clients", _PAIR
        )


def _principal(extensions: x509.Extensions, trust_domain: TrustDomain) -> PrincipalName:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    uris = [name for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if not uris:
        raise PeerError(Code.SAN_MISSING, "the certificate carries no SPIFFE id", _PAIR)
    if len(names) > 1:
        raise PeerError(Code.SAN_AMBIGUOUS, "the certificate carries more than one name", _PAIR)
    try:
        return parse_spiffe(uris[0].value, trust_domain)
    except NamingError as refusal:
        foreign = refusal.code is Code.SAN_FOREIGN_DOMAIN
        code = Code.SAN_FOREIGN_DOMAIN if foreign else Code.SAN_MALFORMED
        raise PeerError(code, refusal.message, _PAIR) from None
