"""Whether a device's key signed these bytes.

Trusted with promise 3, also against a database that was edited by hand: a stored answer is worth
what its signature is worth, by a certificate that an authority in force signed for that very
device. Raises nothing: what cannot be verified was not signed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from identity.names import TrustDomain
from identity.vouching import vouched_peer


@dataclass(frozen=True, slots=True)
class Signatures:
    """See the module. `authorities` gives those in force, as PEM."""

    authorities: Callable[[], bytes]
    trust_domain: TrustDomain

    def by_device(
        self, device_id: str, certificate: bytes, signature: bytes, message: bytes
    ) -> bool:
        """Whether the device of this id signed the message, by a stored certificate of its."""
        peer = vouched_peer(certificate, self.authorities(), self.trust_domain)
        return (
            peer is not None
            and (peer.name.kind, str(peer.name.id)) == ("device", device_id)
            and verifies(certificate, signature, message)
        )


def verifies(certificate: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key of this certificate signed the message: ECDSA P-256 with SHA-256."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
