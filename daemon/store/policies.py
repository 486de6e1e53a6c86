"""Policy states by digest, and which was in force when.

A state is a policy set, the schema it was checked against, and what the operator said of the
entities; each part is kept once, under the digest of its content. Trusted to change the state in
force only for who knew the one before: activations are numbered, and a number is given once.
Nothing here is edited or removed.
Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, select

from daemon.store.engine import insert_once
from daemon.store.faults import StoreFault
from daemon.store.ids import PolicyDigest
from daemon.store.tables import policies, policy_activations, policy_documents

MAX_PAGE: Final = 500
# One document, unpacked: the largest is a whole set of policy files as JSON.
MAX_DOCUMENT: Final = 128 * 1024 * 1024

_GET: Final = select(policies).where(policies.c.digest == bindparam("b_digest"))
_DOCUMENT: Final = select(policy_documents.c.content).where(
    policy_documents.c.digest == bindparam("b_digest")
)
_ACTIVATIONS: Final = select(policy_activations, policies.c.files).join(
    policies, policies.c.digest == policy_activations.c.digest
)
_HISTORY: Final = _ACTIVATIONS.order_by(policy_activations.c.number.desc()).limit(
    bindparam("b_limit")
)
_NUMBERED: Final = _ACTIVATIONS.where(policy_activations.c.number == bindparam("b_number"))
_BEGINNING: Final = (
    select(policies.c.digest)
    .where(policies.c.digest >= bindparam("b_from"), policies.c.digest < bindparam("b_to"))
    .order_by(policies.c.digest)
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy state; schema and data are None where they were not kept."""

    digest: PolicyDigest
    files: bytes = field(repr=False)
    schema: bytes | None = field(repr=False)
    data: bytes | None = field(repr=False)
    saved_ms: int


@dataclass(frozen=True, slots=True)
class Document:
    """A part of a policy state, packed, under the digest of its content."""

    digest: str
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, content: bytes) -> "Document":
        """Takes its time for what is large: not for the thread that writes."""
        return cls(hashlib.sha256(content).hexdigest(), zlib.compress(content, 1))


@dataclass(frozen=True, slots=True)
class PackedPolicy:
    """A policy state on its way into the store."""

    digest: PolicyDigest
    files: Document
    schema: Document
    data: Document
    # For a set that is not valid: never the state that a start begins with.
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class Activation:
    """The `number`th time a policy state came into force, and why it did."""

    number: int
    digest: PolicyDigest
    activated_ms: int
    activated_by: str
    cause: str
    # Equal where the policy files were.
    files: str


def save(connection: Connection, policy: PackedPolicy, now_ms: int) -> bool:
    """Store a policy state; False if it is there already (the same digest is the same state)."""
    for document in (policy.files, policy.schema, policy.data):
        values = {"digest": document.digest, "content": document.packed}
        insert_once(connection, policy_documents, values)
    row = {
        "digest": policy.digest,
        "files": policy.files.digest,
        "schema": policy.schema.digest,
        "data": policy.data.digest,
        "saved_ms": now_ms,
    }
    return insert_once(connection, policies, row)


def get(connection: Connection, digest: PolicyDigest) -> PolicyRow | None:
    """A policy state, or None."""
    found = connection.execute(_GET, {"b_digest": digest}).mappings().one_or_none()
    if found is None:
        return None
    files, schema, data = (_kept(connection, found[part]) for part in ("files", "schema", "data"))
    if files is None:
        raise _damaged(digest)
    return PolicyRow(PolicyDigest(found["digest"]), files, schema, data, found["saved_ms"])


def beginning(connection: Connection, text: str, *, limit: int = 2) -> tuple[PolicyDigest, ...]:
    """The digests that begin like this, the first few of them."""
    # All that begin so sort between it and itself with a letter that no digest has.
    values = {"b_from": text, "b_to": text + "~", "b_limit": limit}
    return tuple(PolicyDigest(one) for one in connection.execute(_BEGINNING, values).scalars())


def current(connection: Connection) -> Activation | None:
    """The state in force, or None: then everything is denied."""
    found = history(connection, limit=1)
    return found[0] if found else None


def numbered(connection: Connection, number: int) -> Activation | None:
    """The `number`th activation, or None."""
    found = connection.execute(_NUMBERED, {"b_number": number}).mappings().one_or_none()
    return None if found is None else Activation(**found)


def activate(
    connection: Connection,
    digest: PolicyDigest,
    *,
    after: Activation | None,
    activated_by: str,
    cause: str,
    now_ms: int,
) -> bool:
    """Bring a saved state into force if `after` still is the last activation; whether it was."""
    number = 1 if after is None else after.number + 1
    if current(connection) != after:
        return False
    values = {
        "number": number,
        "digest": digest,
        "activated_ms": now_ms,
        "activated_by": activated_by,
        "cause": cause,
    }
    return insert_once(connection, policy_activations, values)


def history(connection: Connection, *, limit: int = MAX_PAGE) -> tuple[Activation, ...]:
    """Activations, newest first."""
    values = {"b_limit": max(1, min(limit, MAX_PAGE))}
    return tuple(Activation(**row) for row in connection.execute(_HISTORY, values).mappings())


def _kept(connection: Connection, digest: str | None) -> bytes | None:
    if digest is None:
        return None
    packed = connection.execute(_DOCUMENT, {"b_digest": digest}).scalar_one_or_none()
    try:
        content = zlib.decompressobj().decompress(packed or b"", MAX_DOCUMENT)
    except zlib.error:
        raise _damaged(digest) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(digest)
    return content


def _damaged(digest: str) -> StoreFault:
    return StoreFault(
        "STORE_CORRUPT",
        f"what is stored of policy {digest[:16]} is damaged",
        "restore the data directory from a backup",
    )
