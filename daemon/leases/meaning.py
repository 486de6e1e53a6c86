"""What a lease is to policy: its permits, and what policy is told of it.

Pure. The same for a lease that stands, one that is about to be given, and one that stood when a
call of the past was heard. Leaves `LeaseRefusedError` for what cannot be said in Cedar exactly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from daemon.world import secret_uid
from policy.arguments import Translation
from policy.contexts import LeaseFacts
from policy.lease import LeaseScope, Permit, permits
from policy.schema import Schema
from policy.values import EntityUid
from stockade.canonical import canonical
from stockade.lease import LeaseTerms


def permits_of(
    subjects: Sequence[EntityUid],
    terms: LeaseTerms,
    translation: Translation,
    schema: Schema,
    parent: LeaseTerms | None = None,
) -> tuple[Permit, ...]:
    """A permit for each of the subjects; the translation is of its tool's arguments.

    One that was narrowed from another lease has the limits of both.
    """
    scope = _scope(subjects, terms)
    if parent is not None:
        scope = replace(scope, within=_scope(subjects, parent))
    return permits(scope, translation, schema)


def _scope(subjects: Sequence[EntityUid], terms: LeaseTerms) -> LeaseScope:
    exactly = None
    if terms.exactly is not None:
        exactly = hashlib.sha256(canonical(dict(terms.exactly))).hexdigest()
    return LeaseScope(
        lease_id=terms.lease_id,
        subjects=tuple(subjects),
        tool=terms.tool,
        tool_digest=terms.tool_digest,
        tier=terms.tier,
        secrets=tuple(secret_uid(name) for name in terms.secrets),
        expires_ms=terms.expires_ms,
        exactly=exactly,
        bounds=terms.bounds,
    )


def facts_of(terms: LeaseTerms, created_ms: int) -> LeaseFacts:
    """What policy is told of a lease."""
    return LeaseFacts(
        seconds=max(0, -(-(terms.expires_ms - created_ms) // 1000)),
        uses=terms.uses,
        exact=terms.exactly is not None,
        tied=bool(terms.policy_digest),
    )
