"""Whose a certificate is that comes from a store, not from a handshake.

There TLS has checked no chain of signatures, so it is checked here: trusted to name a principal
only for a certificate that one of these authorities signed. Whether it is in its time is for
whoever asks to decide: what was signed in its time stays signed. Raises nothing for any bytes.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from identity.errors import IdentityError, PeerError
from identity.names import TrustDomain
from identity.peer import Peer, parse_peer
from identity.publickey import PARSE_ERRORS, one_pem


def vouched_peer(pem: bytes, authorities: bytes, trust_domain: TrustDomain) -> Peer | None:
    """The principal of a certificate that one of the authorities, PEM after PEM, signed."""
    try:
        certificate = one_pem(pem, "CERTIFICATE", x509.load_pem_x509_certificate, PeerError)
        if not any(
            _issued_by(certificate, one) for one in x509.load_pem_x509_certificates(authorities)
        ):
            return None
        return parse_peer(pem, trust_domain, certificate.not_valid_before_utc)
    except (IdentityError, *PARSE_ERRORS):
        return None


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *PARSE_ERRORS):
        return False
    return True
