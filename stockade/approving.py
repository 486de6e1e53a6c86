"""The approver's half of an approval: what may be shown, and the signature of an answer.

Trusted to let nothing be answered but what the statement's bytes say: the statement is parsed from
the bytes that are signed, its digest is recomputed, and the envelope it came in must agree with it.
Pure. Raises `ApprovalUnclear`, and `BadRequest` for a reason that cannot be sent.
"""

import secrets
from collections.abc import Mapping
from dataclasses import fields, replace

import uuid_utils.compat
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.bounds import Bounds
from stockade.errors import ApprovalUnclear, BadRequest
from stockade.lease import LeaseError, LeaseTerms, lease_bytes, parse_lease
from stockade.statement import Statement, StatementError, answer_bytes, parse_statement
from stockade.v1 import approval_pb2

MAX_REASON = 500

_DO_NOT = "do not answer it; tell the daemon's owner"


def verified(approval: approval_pb2.Approval) -> Statement:
    """The statement to show for this approval, every field of the type it should have."""
    try:
        statement = parse_statement(approval.statement)
    except StatementError as error:
        raise ApprovalUnclear(str(error), fix=_DO_NOT) from None
    if not _well_typed(statement):
        raise ApprovalUnclear("a field of the statement is of a wrong type", fix=_DO_NOT)
    # The list shows the envelope's ids and time left, the signature covers the statement's.
    envelope = (approval.approval_id, approval.call_id, approval.expires.ToMilliseconds())
    if envelope != (statement.approval_id, statement.call_id, statement.expires_ms):
        raise ApprovalUnclear(
            "the approval and its statement are of different calls",
            reason="STATEMENT_MISMATCH",
            fix=_DO_NOT,
        )
    return statement


def sign_answer(
    key: ec.EllipticCurvePrivateKey, statement: bytes, approve: bool, reason: str
) -> bytes:
    """ECDSA P-256 with SHA-256, DER, over one answer to exactly these statement bytes."""
    if len(reason) > MAX_REASON:
        raise BadRequest(
            f"a reason has {MAX_REASON} characters at most",
            reason="REASON_TOO_LONG",
            fix="shorten the reason",
        )
    try:
        message = answer_bytes(statement, approve=approve, reason=reason)
    except UnicodeEncodeError:
        raise BadRequest(
            "the reason is not text that can be sent", reason="REASON_INVALID"
        ) from None
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def sign_lease(key: ec.EllipticCurvePrivateKey, terms: bytes) -> bytes:
    """ECDSA P-256 with SHA-256, DER, over exactly these lease bytes."""
    return key.sign(lease_bytes(terms), ec.ECDSA(hashes.SHA256()))


def lease_for(
    statement: Statement,
    *,
    expires_ms: int,
    uses: int,
    bounds: Bounds | None = None,
    tied: bool = True,
) -> LeaseTerms:
    """A lease for calls like the one that waits: with these bounds, or with its very arguments."""
    call = statement.call
    terms = LeaseTerms(
        lease_id=str(uuid_utils.compat.uuid7()),
        approval_id=statement.approval_id,
        principal=call.principal,
        tool=call.tool,
        tool_digest=call.tool_digest,
        tier=call.tier,
        secrets=call.secrets,
        exactly=call.arguments if bounds is None else None,
        bounds=bounds,
        expires_ms=expires_ms,
        uses=uses,
        policy_digest=call.policy_digest if tied else "",
        nonce=secrets.token_hex(16),
    )
    try:
        # What is shown to the person who signs is what these bytes say.
        return parse_lease(terms.encode())
    except (LeaseError, ValueError) as error:
        raise BadRequest(f"no lease: {error}", reason="LEASE_REFUSED") from None


def offered(approval: approval_pb2.Approval) -> LeaseTerms:
    """The lease that somebody has signed with a yes to this approval, to be signed as it is."""
    statement = verified(approval)
    if not approval.lease_terms:
        raise BadRequest(
            "nobody has signed a lease with this approval",
            reason="NO_LEASE_OFFERED",
            fix="give one with --for TIME, or say yes once",
        )
    try:
        terms = parse_lease(approval.lease_terms)
    except LeaseError as error:
        raise ApprovalUnclear(str(error), fix=_DO_NOT) from None
    call = statement.call
    wanted = (call.principal, call.tool, call.tool_digest, call.tier, call.secrets)
    given = (terms.principal, terms.tool, terms.tool_digest, terms.tier, terms.secrets)
    if (terms.approval_id, *given) != (statement.approval_id, *wanted):
        raise ApprovalUnclear(
            "the lease is not about the call that waits",
            reason="STATEMENT_MISMATCH",
            fix=_DO_NOT,
        )
    return terms


def narrowed(
    parent: LeaseTerms,
    agent_id: str,
    *,
    expires_ms: int,
    uses: int,
    bounds: Bounds | None = None,
) -> LeaseTerms:
    """A part of a lease for an agent: of its arguments all, or those within the bounds."""
    terms = replace(
        parent,
        lease_id=str(uuid_utils.compat.uuid7()),
        principal=f"agent/{agent_id}",
        exactly=parent.exactly if bounds is None else None,
        bounds=parent.bounds if bounds is None else bounds,
        expires_ms=min(expires_ms, parent.expires_ms),
        uses=uses,
        nonce=secrets.token_hex(16),
        parent=parent.digest(),
    )
    try:
        return parse_lease(terms.encode())
    except (LeaseError, ValueError) as error:
        raise BadRequest(f"no lease: {error}", reason="LEASE_REFUSED") from None


def _well_typed(statement: Statement) -> bool:
    call = statement.call
    texts = (
        *(getattr(statement, name) for name in ("approval_id", "call_id", "requester_name")),
        statement.nonce,
        *(
            getattr(call, item.name)
            for item in fields(call)
            if item.name not in ("arguments", "secrets", "hosts")
        ),
        *call.secrets,
        *(call.hosts or ()),
        *(text for line in statement.asked_because for text in (line.id, line.file)),
    )
    numbers = (
        statement.risk_milli,
        statement.created_ms,
        statement.expires_ms,
        *(line.line for line in statement.asked_because),
    )
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and _is_risk(statement.risk)
        and isinstance(call.arguments, Mapping)
    )


def _is_risk(value: object) -> bool:
    """Names with texts or truth values; a statement of version 1 has none."""
    return value is None or (
        isinstance(value, Mapping) and all(isinstance(one, str | bool) for one in value.values())
    )
