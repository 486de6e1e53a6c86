"""What an approver is shown, and the bytes an approver signs.

Pure, and shared by the daemon (which writes statements and verifies answers) and the client (which
shows them and signs). A statement is RFC 8785 JSON; it holds everything the call's digest covers,
so a client recomputes that digest from what it shows and refuses a statement that says otherwise.
Format: docs/formats.md. `parse_statement` raises `StatementError` and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from stockade.canonical import canonical, tagged_digest

CALL_TAG = b"stockade/call/v1"
ANSWER_TAG = b"stockade/approval-answer/v1"

MAX_STATEMENT_BYTES = 2 * 1024 * 1024


class StatementError(ValueError):
    """These bytes are not a statement this version understands, or they contradict themselves."""


@dataclass(frozen=True)  # no slots: the digest is kept
class ExactCall:
    """Everything that an approval is bound to. Change any of it and it is another call.

    The arguments must not be changed by whoever made it: its digest is made once.
    """

    principal: str
    tool: str
    tool_digest: str
    arguments: Mapping[str, Any]
    tier: str
    secrets: tuple[str, ...]
    workspace: str
    policy_digest: str
    # The network hosts it is granted; None in what was made before there were any.
    hosts: tuple[str, ...] | None = None

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all fields, hex."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        # A permitted call's is wanted four times, and its arguments may be a megabyte.
        return tagged_digest(CALL_TAG, canonical(self._fields())).hex()

    def _fields(self) -> dict[str, Any]:
        # Not asdict: that would copy the arguments, which may be a megabyte.
        hosts = {} if self.hosts is None else {"hosts": list(self.hosts)}
        return {
            **hosts,
            "principal": self.principal,
            "tool": self.tool,
            "tool_digest": self.tool_digest,
            "arguments": self.arguments,
            "tier": self.tier,
            "secrets": list(self.secrets),
            "workspace": self.workspace,
            "policy_digest": self.policy_digest,
        }


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """A policy by the id and the place it has in the operator's files."""

    id: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One request for a human's answer. Times are milliseconds since 1970, UTC."""

    approval_id: str
    call_id: str
    requester_name: str
    call: ExactCall
    risk_milli: int
    asked_because: tuple[PolicyLine, ...]
    created_ms: int
    expires_ms: int
    nonce: str
    # What the score is made of. Statements of version 1 have none, and no hosts.
    risk: Mapping[str, str | bool] | None = None

    def encode(self) -> bytes:
        """The canonical bytes: stored, sent, shown and signed over."""
        version = {"v": 1} if self.risk is None else {"v": 2, "risk": self.risk}
        return canonical(
            {
                **version,
                "approval": self.approval_id,
                "call": self.call_id,
                "call_digest": self.call.digest(),
                "requester_name": self.requester_name,
                "exact": self.call._fields(),
                "risk_milli": self.risk_milli,
                "asked_because": [asdict(line) for line in self.asked_because],
                "created_ms": self.created_ms,
                "expires_ms": self.expires_ms,
                "nonce": self.nonce,
            }
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `encode` after JSON parsing; raises KeyError, TypeError or ValueError."""
        exact = dict(fields["exact"])
        exact["secrets"] = tuple(exact["secrets"])
        if fields["v"] == 1 and "hosts" in exact:
            raise ValueError("version 1 knows no hosts")
        exact["hosts"] = tuple(exact["hosts"]) if fields["v"] == 2 else None
        return cls(
            approval_id=fields["approval"],
            call_id=fields["call"],
            requester_name=fields["requester_name"],
            call=ExactCall(**exact),
            risk_milli=fields["risk_milli"],
            asked_because=tuple(PolicyLine(**line) for line in fields["asked_because"]),
            created_ms=fields["created_ms"],
            expires_ms=fields["expires_ms"],
            nonce=fields["nonce"],
            risk=fields["risk"] if fields["v"] == 2 else None,
        )


def parse_statement(data: bytes) -> Statement:
    """Statement bytes to a statement whose digest has been recomputed and found equal."""
    if len(data) > MAX_STATEMENT_BYTES:
        raise StatementError(f"a statement is at most {MAX_STATEMENT_BYTES} bytes")
    try:
        fields = json.loads(data)
        if fields["v"] not in (1, 2):
            raise StatementError("statement version is not 1 or 2; update this client")
        statement = Statement.from_fields(fields)
        # Equality of the re-encoded bytes covers unknown fields, duplicate keys, a digest that does
        # not belong to the call, and every non-canonical spelling at once.
        same = statement.encode() == data
    except StatementError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StatementError(f"not a statement: {type(error).__name__}") from None
    if not same:
        raise StatementError("the statement's bytes do not say what they show; do not answer it")
    return statement


def answer_bytes(statement: bytes, *, approve: bool, reason: str) -> bytes:
    """The message an approver's key signs for one answer to one statement."""
    word = b"approve" if approve else b"reject"
    return ANSWER_TAG + tagged_digest(ANSWER_TAG, word, reason.encode(), statement)
