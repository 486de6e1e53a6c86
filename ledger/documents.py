"""What receipts name by digest: arguments, output, statements, policies, tools, manifests, leases.

Trusted to say under which digest a receipt names a document, by the formulas of docs/formats.md,
and whether an approver signed. The formulas are repeated here, so that evidence can be verified
where nothing else of Stockade is. A document is a JSON object with `what` and fields of that sort.
Raises EvidenceError alone.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import EvidenceError

_ANSWER: Final = b"stockade/approval-answer/v1"
_LEASE: Final = b"stockade/lease/v1"
_OUTPUT: Final = b"stockade/output/v1"
_MOST: Final = 2**53 - 1
"""JSON has no greater whole numbers that are sure to stay what they are."""
_CURVE: Final = "secp256r1"


def digest_of_document(document: object) -> str:
    """The digest, hex, by which receipts name a document of its sort."""
    if type(document) is not dict or type(what := document.get("what")) is not str:
        _refuse("a document is an object that says what it is")
    known = _SORTS.get(what)
    if known is None:
        _refuse("a document of a sort that this version does not know")
    names, digest = known
    if document.keys() != {"what", *names}:
        _refuse("a document has exactly the fields of its sort")
    try:
        return digest(document)
    except (TypeError, ValueError, KeyError, AttributeError):
        _refuse("a document is not of the form of its sort")


def output_parts(document: Mapping[str, Any]) -> tuple[bytes, int, bytes]:
    """How an output began, how many bytes are not in the document, and how it ended.

    ValueError or TypeError for what is no such document.
    """
    start, end = (_bytes(document[name]) for name in ("start", "end"))
    left_out = document["left_out"]
    if type(left_out) is not int or not 0 <= left_out <= _MOST or (end and not left_out):
        raise ValueError
    return start, left_out, end


def approver_signed(body: Mapping[str, Any], statement: str) -> bool:
    """Whether an answer, as its receipt has it, was signed by the certificate in the receipt."""
    parts = [_text(body.get(name)) for name in ("answer", "reason")]
    message = _ANSWER + _tagged(_ANSWER, *parts, statement.encode())
    return _signed(body, message)


def granters_signed(body: Mapping[str, Any], terms: str) -> tuple[bool, ...]:
    """Whether a lease, as its receipt has it, was signed by each certificate in the receipt.

    First by the one whose signature completed it, then by those in `cosigners`. Nobody counts
    twice: the same approver, or the same key, again is no signature.
    """
    message = _LEASE + _tagged(_LEASE, terms.encode())
    others = body.get("cosigners", [])
    places = [body, *(others if isinstance(others, list) else [None])]
    seen: set[object] = set()
    found = []
    for place in places:
        who = _who(place)
        found.append(isinstance(place, Mapping) and not seen & who and _signed(place, message))
        seen |= who
    return tuple(found)


def _who(place: object) -> set[object]:
    """By which a signer is known: the name, and the key of the certificate."""
    if not isinstance(place, Mapping):
        return set()
    known: set[object] = {("name", str(place.get("approver")))}
    with suppress(ValueError, TypeError):
        certificate = x509.load_pem_x509_certificate(_text(place.get("certificate")))
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        known.add(("key", spki))
    return known


def _signed(body: Mapping[str, Any], message: bytes) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(_text(body.get("certificate")))
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
            return False
        key.verify(bytes.fromhex(str(body.get("signature"))), message, ec.ECDSA(SHA256()))
    except (TypeError, ValueError, InvalidSignature):
        return False
    return True


def _plain(document: dict[str, Any]) -> str:
    return hashlib.sha256(_text(document["text"])).hexdigest()


def _lease(document: dict[str, Any]) -> str:
    return _tagged(_LEASE, _text(document["text"])).hex()


def _output(document: dict[str, Any]) -> str:
    start, left_out, end = output_parts(document)
    return _tagged(_OUTPUT, start, left_out.to_bytes(8, "big"), end).hex()


def _policy(document: dict[str, Any]) -> str:
    files = document["files"]
    state = hashlib.sha256(b"stockade policy bundle v1\n" + len(files).to_bytes(8, "big"))
    for name in sorted(files):
        state.update(_sized(_text(name)) + _sized(_text(files[name])))
    state.update(_sized(_text(document["schema"])))
    bundle = state.hexdigest().encode()
    parts = _sized(bundle) + _sized(_text(document["data"]))
    return hashlib.sha256(b"stockade policy state v1\n" + parts).hexdigest()


def _tool(document: dict[str, Any]) -> str:
    files, manifest = document["files"], _text(document["manifest"])
    state = hashlib.sha256(b"stockade.tool.v1\0" + len(files).to_bytes(4, "big"))
    listed = sorted((_text(one["path"]), one) for one in files)
    for path, one in listed:
        content = bytes.fromhex(one["sha256"])
        if len(content) != 32 or type(one["executable"]) is not bool:
            raise ValueError
        state.update(len(path).to_bytes(4, "big") + path + bytes((one["executable"],)) + content)
        if path == b"manifest.toml" and hashlib.sha256(manifest).digest() != content:
            raise ValueError
    if b"manifest.toml" not in dict(listed):
        raise ValueError
    return state.hexdigest()


_SORTS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], str]]]] = {
    "arguments": (("text",), _plain),
    "redacted-arguments": (("text",), _plain),
    "output": (("start", "end", "left_out"), _output),
    "statement": (("text",), _plain),
    "agent-manifest": (("text",), _plain),
    "lease": (("text",), _lease),
    "policy": (("files", "schema", "data"), _policy),
    "tool": (("files", "manifest"), _tool),
}


def _tagged(tag: bytes, *parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(map(_sized, (tag, *parts)))).digest()


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def _bytes(value: object) -> bytes:
    found = base64.b64decode(_text(value), validate=True)
    if base64.b64encode(found) != _text(value):
        raise ValueError  # of several spellings one is right
    return found


def _text(value: object) -> bytes:
    if type(value) is not str:
        raise TypeError
    return value.encode()


def _refuse(message: str) -> NoReturn:
    raise EvidenceError("DOCUMENT", message)
