"""Ed25519 keys as a PKCS #11 session knows them: made, found, judged, used.

Trusted to ask for nothing weaker than an Ed25519 key that is private, sensitive, not extractable
and for signing alone, and to take up no other. Functions over a session that is logged in. Leaves
`TokenError` for a key that is not fit, and pkcs11's own errors, which `identity.token` translates.
"""

from typing import Final

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.types import Session, SignMixin

from identity import tokenobjects
from identity.keyuri import KeyUri

# The curve by its object identifier (RFC 8410 3), in DER; and by its name, as PKCS #11 3.0 (6.3.5)
# has it too and some tokens answer.
_CURVE: Final = bytes.fromhex("06032b6570")
_NAMED: Final = b"\x13\x0cedwards25519"
# An OCTET STRING of 32 bytes.
_POINT: Final = b"\x04\x20"
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


def generate(session: Session, uri: KeyUri) -> None:
    """Make a key pair."""
    parameters = session.create_domain_parameters(
        KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _CURVE}, local=True
    )
    parameters.generate_keypair(
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        id=uri.id,
        label=uri.label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template=tokenobjects.WANTED,
    )


def fit_public_key(session: Session, uri: KeyUri) -> bytes:
    """The public key of a private key that is fit to be used."""
    private = tokenobjects.private_key(session, uri)
    tokenobjects.require_fit(private)
    if bytes(private[Attribute.EC_PARAMS]) not in (_CURVE, _NAMED):
        raise tokenobjects.unfit("it is not on the curve edwards25519")
    point = b""
    for found in tokenobjects.objects(session, uri, ObjectClass.PUBLIC_KEY):
        point = bytes(found[Attribute.EC_POINT])
    point = point.removeprefix(_POINT) if len(point) > _KEY_BYTES else point
    if len(point) != _KEY_BYTES:
        raise tokenobjects.unfit("the public key beside it is no Ed25519 key, or not there")
    return point


def sign(session: Session, uri: KeyUri, message: bytes) -> bytes:
    """Sign a message."""
    key = tokenobjects.private_key(session, uri)
    made = key.sign(message, mechanism=Mechanism.EDDSA) if isinstance(key, SignMixin) else b""
    if len(made) != _SIGNATURE_BYTES:
        raise tokenobjects.unfit("its signatures are not those of Ed25519")
    return made
