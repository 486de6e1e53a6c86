"""A lease: a person's yes that stands for a time, and the bytes that person signs.

Pure, and shared by the daemon and the client, as `stockade.statement` is: RFC 8785 JSON, parsed
from the bytes that are signed, and refused unless they encode to the same bytes. Format:
docs/formats.md. `parse_lease` raises `LeaseError` and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stockade.bounds import BoundError, Bounds, covers, parse_bounds, within, words
from stockade.canonical import canonical, tagged_digest

LEASE_TAG = b"stockade/lease/v1"
MAX_LEASE_BYTES = 256 * 1024
MAX_USES = 100_000


class LeaseError(ValueError):
    """These bytes are not a lease that this version understands."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Whose calls, of which tool, with which arguments, until when, how often."""

    lease_id: str
    # The approval it was given with: its call is the first of its kind.
    approval_id: str
    principal: str
    tool: str
    tool_digest: str
    tier: str
    secrets: tuple[str, ...]
    # The arguments themselves, or a bound for each; the other is None.
    exactly: Mapping[str, Any] | None = field(repr=False)
    bounds: Bounds | None = field(repr=False)
    expires_ms: int
    uses: int
    # Of the policy it is tied to; empty if it stands under whatever policy is in force.
    policy_digest: str
    nonce: str
    # Digest of the lease that it was narrowed from, if its holder handed it on; else empty.
    parent: str = ""

    def encode(self) -> bytes:
        """The canonical bytes: sent, stored, shown and signed over."""
        fields = {"v": 2 if self.parent else 1, **asdict(self), "secrets": list(self.secrets)}
        if not self.parent:
            del fields["parent"]
        return canonical(fields)

    def digest(self) -> str:
        """What receipts call it by."""
        return tagged_digest(LEASE_TAG, self.encode()).hex()

    def meaning(self) -> list[str]:
        """The arguments it covers, a line each."""
        if self.exactly is not None:
            said = json.dumps(self.exactly, ensure_ascii=False, sort_keys=True)
            return [f"exactly these arguments: {said}"]
        named = [words(name, bound) for name, bound in sorted((self.bounds or {}).items())]
        return [*named, "no other argument"]


def lease_bytes(terms: bytes) -> bytes:
    """The message that an approver's key signs."""
    return LEASE_TAG + tagged_digest(LEASE_TAG, terms)


def parse_lease(data: bytes) -> LeaseTerms:
    """Lease bytes to what they say."""
    if len(data) > MAX_LEASE_BYTES:
        raise LeaseError(f"a lease is at most {MAX_LEASE_BYTES} bytes")
    try:
        fields = json.loads(data)
        if fields.pop("v") not in (1, 2):
            raise LeaseError("lease version is not 1 or 2; update this client")
        terms = LeaseTerms(**{**fields, "secrets": tuple(fields["secrets"])})
        same = terms.encode() == data
        _check(terms)
    except LeaseError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LeaseError(f"not a lease: {type(error).__name__}") from None
    if not same:
        raise LeaseError("the lease's bytes do not say what they show")
    return terms


def widening(narrow: LeaseTerms, wide: LeaseTerms, uses_left: int) -> str:
    """In what a lease reaches further than the one it is narrowed from; empty if in nothing."""
    same = ("approval_id", "tool", "tool_digest", "tier", "secrets")
    if narrow.parent != wide.digest():
        return "it is not narrowed from that lease"
    if any(getattr(narrow, name) != getattr(wide, name) for name in same):
        return "it is about another tool, tier or secret"
    if wide.policy_digest and narrow.policy_digest != wide.policy_digest:
        return "it is not tied to the policy that the other is tied to"
    if narrow.expires_ms > wide.expires_ms:
        return "it ends later"
    if narrow.uses > uses_left:
        return "it has more uses than are left"
    return "" if _arguments_within(narrow, wide) else "it covers other arguments"


def _arguments_within(narrow: LeaseTerms, wide: LeaseTerms) -> bool:
    if wide.exactly is not None:
        same = narrow.exactly is not None and canonical(dict(narrow.exactly))
        return same == canonical(dict(wide.exactly))
    bounds = wide.bounds or {}
    if narrow.exactly is not None:
        given = narrow.exactly.items()
        return all(name in bounds and covers(bounds[name], value) for name, value in given)
    mine = (narrow.bounds or {}).items()
    return all(name in bounds and within(bound, bounds[name]) for name, bound in mine)


def _check(terms: LeaseTerms) -> None:
    texts = ("lease_id", "approval_id", "principal", "tool", "tool_digest", "tier")
    values = [getattr(terms, name) for name in (*texts, "policy_digest", "nonce", "parent")]
    if not all(isinstance(value, str) for value in (*values, *terms.secrets)):
        raise LeaseError("a field is of a wrong type")
    if type(terms.expires_ms) is not int or type(terms.uses) is not int:
        raise LeaseError("a field is of a wrong type")
    if not 1 <= terms.uses <= MAX_USES:
        raise LeaseError(f"a lease is for 1 to {MAX_USES} uses")
    if (terms.exactly is None) == (terms.bounds is None):
        raise LeaseError("a lease has exact arguments or bounds of them, one of the two")
    if terms.exactly is not None and not isinstance(terms.exactly, Mapping):
        raise LeaseError("exact arguments are an object")
    if terms.bounds is not None:
        try:
            parse_bounds(terms.bounds)
        except BoundError as error:
            raise LeaseError(str(error)) from None
