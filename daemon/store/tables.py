"""The tables. A test proves that the migrations make exactly these.

Times are milliseconds since the epoch by the daemon's clock. Bytes that were signed or digested
are stored as they were, never re-encoded. `receipts` has no foreign key to `calls`: a receipt
stays what it is whatever becomes of the rest.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, String, nullable=null)


def _number(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


meta: Final = Table("meta", metadata, Column("key", String, primary_key=True), _text("value"))

receipts: Final = Table(
    "receipts",
    metadata,
    Column("chain", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _text("receipt_id"),
    _text("kind"),
    _text("time"),  # as the receipt has it
    Column("call_id", String, index=True),
    Column("principal", String, index=True),
    _bytes("canonical"),
    _bytes("digest"),
    _bytes("signature"),
)

# Every 256th inner node of the tree over the receipts' digests, and so on upwards: ledger/tiles.py.
tree_nodes: Final = Table(
    "tree_nodes",
    metadata,
    Column("chain", String, primary_key=True),
    Column("level", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _bytes("hash"),
)

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    Column("chain", String, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    _bytes("note"),
    _number("made_ms"),
)

calls: Final = Table(
    "calls",
    metadata,
    Column("call_id", String, primary_key=True),
    _text("principal"),
    _text("device_id"),
    _text("tool"),
    _text("tool_digest"),
    _text("digest"),
    _bytes("arguments"),
    _text("workspace", null=True),
    _text("state"),
    _text("reason"),
    Column("detach", Boolean, nullable=False),
    _text("origin"),
    _number("created_ms"),
    _number("updated_ms"),
    _bytes("outcome", null=True),
    # What stays of the arguments where they do not, and the salt that their digest is keyed with.
    _bytes("redacted", null=True),
    _bytes("salt", null=True),
    _bytes("output", null=True),  # last, and long: calls are read without it
    Index(None, "principal", "created_ms", "call_id"),
    Index(None, "device_id", "created_ms", "call_id"),
    Index(None, "state", "created_ms", "call_id"),
    Index(None, "created_ms", "call_id"),
)

CONTENTS_SIZE: Final = (
    func.length(calls.c.arguments)
    + func.coalesce(func.length(calls.c.redacted), 0)
    + func.coalesce(func.length(calls.c.output), 0)
)
"""Bytes of a call's contents."""
NO_CONTENTS: Final = {"arguments": b"", "redacted": None, "output": None}
"""What a call has in their place once they were pruned."""

approvals: Final = Table(
    "approvals",
    metadata,
    Column("approval_id", String, primary_key=True),
    Column("call_id", String, ForeignKey("calls.call_id"), nullable=False, index=True),
    _bytes("statement"),
    _text("state"),
    _text("policy_digest"),
    _number("created_ms"),
    _number("expires_ms"),
    _number("settled_ms", null=True),
    _number("escalated_ms", null=True),
    Index(None, "state", "created_ms", "approval_id"),
    Index(None, "state", "expires_ms"),
    Index(None, "created_ms", "approval_id"),
)

approval_answers: Final = Table(
    "approval_answers",
    metadata,
    Column("approval_id", String, ForeignKey("approvals.approval_id"), primary_key=True),
    Column("device_id", String, primary_key=True),
    _text("answer"),
    _bytes("signature"),
    _bytes("certificate"),
    _text("reason"),
    _number("time_ms"),
    # Of a lease that was signed with a yes, and what was signed.
    _bytes("lease_signature", null=True),
    _bytes("lease_terms", null=True),  # last: answers are listed without it
)

# Which devices were given it while it waited.
approval_shown: Final = Table(
    "approval_shown",
    metadata,
    Column("approval_id", String, ForeignKey("approvals.approval_id"), primary_key=True),
    Column("device_id", String, primary_key=True),
    _number("time_ms"),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("lease_id", String, primary_key=True),
    Column("approval_id", String, ForeignKey("approvals.approval_id"), nullable=False),
    _text("principal"),
    _text("device_id"),
    _text("tool"),
    _bytes("terms"),
    _text("signer"),
    _bytes("signature"),
    _bytes("certificate"),
    _text("state"),
    _text("reason"),
    _number("uses"),
    _number("max_uses"),
    _number("created_ms"),
    _number("expires_ms"),
    _number("ended_ms", null=True),
    # The lease that it was narrowed from, if it was handed on.
    _text("parent_id", null=True),
    # The signatures of others over the same terms.
    _bytes("cosigned", null=True),
    Index(None, "state", "expires_ms"),
    Index(None, "created_ms", "lease_id"),
)

# Of a lease, each by its number: one number, one call.
lease_uses: Final = Table(
    "lease_uses",
    metadata,
    Column("lease_id", String, ForeignKey("leases.lease_id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _text("call_id"),
    _number("time_ms"),
)

devices: Final = Table(
    "devices",
    metadata,
    Column("device_id", String, primary_key=True),
    _text("name"),
    _text("kind"),
    _text("status"),
    _number("created_ms"),
    _number("revoked_ms", null=True),
)

device_groups: Final = Table(
    "device_groups",
    metadata,
    Column("device_id", String, ForeignKey("devices.device_id"), primary_key=True),
    Column("name", String, primary_key=True),
)

agents: Final = Table(
    "agents",
    metadata,
    Column("agent_id", String, primary_key=True),
    _text("name"),
    Column("device_id", String, ForeignKey("devices.device_id"), nullable=False, index=True),
    _bytes("manifest"),
    _text("manifest_digest"),
    _text("status"),
    _number("created_ms"),
    _number("revoked_ms", null=True),
)

certificates: Final = Table(
    "certificates",
    metadata,
    Column("serial", String, primary_key=True),  # hex: X.509 allows 20 octets
    # An agent's has the device that answers for it, too: revoking that revokes all.
    Column("device_id", String, ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("agent_id", String, ForeignKey("agents.agent_id"), index=True),
    _bytes("spki"),
    _bytes("pem"),
    _number("not_before"),
    _number("not_after"),
    _number("revoked_ms", null=True),
    Index(None, "not_after"),
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("root_key_id", String, nullable=False, index=True),  # empty where nothing is sealed
    _number("created_ms"),
    _number("expires_ms", null=True),
    _text("state"),
    _bytes("sealed"),  # last: the rest is read without it
)

# What policy states are made of, by the digest of the content, so that each is kept once.
policy_documents: Final = Table(
    "policy_documents",
    metadata,
    Column("digest", String, primary_key=True),
    _bytes("content"),  # zlib
)


def _document(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, String, ForeignKey("policy_documents.digest"), nullable=null)


policies: Final = Table(
    "policies",
    metadata,
    Column("digest", String, primary_key=True),
    _document("files"),
    # Null for sets that were stored before these were kept.
    _document("schema", null=True),
    _document("data", null=True),
    _number("saved_ms"),
)

policy_activations: Final = Table(
    "policy_activations",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String, ForeignKey("policies.digest"), nullable=False),
    _number("activated_ms"),
    _text("activated_by"),
    _text("cause"),
)

# The entities that decisions were made with; the oldest go when there are too many bytes of them.
entity_snapshots: Final = Table(
    "entity_snapshots",
    metadata,
    Column("digest", String, primary_key=True),
    _bytes("content"),
    _number("size"),
    _number("saved_ms"),
    Index(None, "saved_ms"),
)

tool_records: Final = Table(
    "tool_records",
    metadata,
    Column("name", String, primary_key=True),
    Column("digest", String, primary_key=True),
    _text("provenance"),
    _text("state"),
    _number("added_ms"),
    _number("removed_ms", null=True),
)
