"""RFC 8785 canonical JSON and the domain-separated digests that client and daemon both compute.

Pure. Whoever signs or compares a digest computes it here from the content, never from bytes that
somebody else called canonical.
"""

import hashlib

import rfc8785


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a JSON value; raises `ValueError` for what JSON cannot say exactly."""
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from None


def tagged_digest(tag: bytes, *parts: bytes) -> bytes:
    """SHA-256 over a domain tag and length-prefixed parts: no two inputs can run together."""
    state = hashlib.sha256()
    for part in (tag, *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
