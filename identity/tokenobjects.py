"""Keys as a PKCS #11 session knows them: made, found, judged, used, destroyed.

Trusted to ask for nothing weaker than a P-256 key that is private, sensitive, not extractable and
for signing alone, and to take up no other. Functions over a session that is logged in. Leaves
`TokenError` for a key that is not fit, and pkcs11's own errors, which `identity.token` translates.
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import AttributeTypeInvalid, NoSuchKey
from pkcs11.types import Object, PrivateKey, Session, SignMixin

from identity.errors import Code, TokenError
from identity.keyuri import KeyUri

# The object identifier of P-256 (RFC 5480 2.1.1.1) and an OCTET STRING of 65 bytes, in DER.
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
_POINT: Final = b"\x04\x41"
_POINT_BYTES: Final = 65
_SIGNATURE_BYTES: Final = 64

# What a fit private key says of itself.
FIT: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.EC_PARAMS: _P256,
}
# Of those that a token may leave out, what one that it made there says.
_MADE: Final = {Attribute.DERIVE: False, Attribute.MODIFIABLE: False}
# What a new key is to be, besides its curve.
WANTED: Final[dict[Attribute, object]] = {
    **{name: value for name, value in FIT.items() if name is not Attribute.EC_PARAMS},
    **_MADE,
}


def generate(session: Session, uri: KeyUri) -> None:
    """Make a key pair."""
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True
    )
    parameters.generate_keypair(
        id=uri.id,
        label=uri.label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template=WANTED,
    )


def fit_public_key(session: Session, uri: KeyUri) -> ec.EllipticCurvePublicKey:
    """The public key of a private key that is fit to be used."""
    private = private_key(session, uri)
    require_fit(private)
    if _value(private, Attribute.EC_PARAMS) != _P256:
        raise unfit("its EC_PARAMS is not P-256")
    point = b""
    for found in objects(session, uri, ObjectClass.PUBLIC_KEY):
        point = bytes(found[Attribute.EC_POINT])
    try:
        point = point.removeprefix(_POINT) if len(point) > _POINT_BYTES else point
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise unfit("the public key beside it is not on P-256, or not there") from None


def require_fit(private: PrivateKey) -> None:
    """Refuse a key that could be read, or used otherwise; which curve it is on is not looked at."""
    for attribute, value in FIT.items():
        if attribute is not Attribute.EC_PARAMS and _value(private, attribute) != value:
            raise unfit(f"its {attribute.name} is not {value}")


def sign(session: Session, uri: KeyUri, digest: bytes) -> bytes:
    """Sign a digest; the signature in DER."""
    key = private_key(session, uri)
    raw = key.sign(digest, mechanism=Mechanism.ECDSA) if isinstance(key, SignMixin) else b""
    if len(raw) != _SIGNATURE_BYTES:
        raise unfit("its signatures are not those of ECDSA on P-256")
    middle = _SIGNATURE_BYTES // 2
    return utils.encode_dss_signature(
        int.from_bytes(raw[:middle], "big"), int.from_bytes(raw[middle:], "big")
    )


def destroy(session: Session, uri: KeyUri) -> None:
    """Destroy what there is of a key: the private half first."""
    for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        for found in objects(session, uri, kind):
            found.destroy()


def unfit(why: str) -> TokenError:
    """The refusal of a key that is there and will not do."""
    return TokenError(
        Code.TOKEN_KEY_UNFIT,
        f"the key in the token is not fit to be used: {why}",
        "use the token that Stockade made the key in, unchanged",
    )


def private_key(session: Session, uri: KeyUri) -> PrivateKey:
    """The private key that is named, and there once."""
    found = objects(session, uri, ObjectClass.PRIVATE_KEY)
    if not found:
        raise NoSuchKey
    if len(found) > 1 or not isinstance(found[0], PrivateKey):
        raise unfit("more than one key has its label and id")
    return found[0]


def objects(session: Session, uri: KeyUri, kind: ObjectClass) -> list[Object]:
    """What there is of a key, of one class."""
    # Whole before anything is done with one: a search is an operation of the session.
    wanted = {Attribute.CLASS: kind, Attribute.LABEL: uri.label, Attribute.ID: uri.id}
    return list(session.get_objects(wanted))


def _value(key: PrivateKey, attribute: Attribute) -> object:
    try:
        return key[attribute]
    except AttributeTypeInvalid:
        return None
