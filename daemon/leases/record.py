"""What the ledger says of a lease, against the row that says it stands.

A row can be edited by hand; the receipts beside it are signed. Trusted to find that a lease was
never given like this, or has ended: a row that was made active again, or written by somebody whose
key may sign but whose lease nobody admitted, stands for nothing. What a new row holds is said here,
too. Pure; raises nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from daemon.evidence import attested
from daemon.leases.signers import signers_of
from daemon.principal import Principal
from daemon.store.ids import ApprovalId, DeviceId, LeaseId
from daemon.store.leases import LeaseRow, LeaseState
from daemon.store.receipts import ReceiptRow
from ledger.keys import Keys
from ledger.receipt import parse_time
from stockade.lease import LeaseTerms, parse_lease

CREATED: Final = "lease.created"
# Signed with a yes, by fewer people than it takes: there is no lease yet.
OFFERED: Final = "lease.offered"
USED: Final = "lease.used"
# The row is made a moment before its receipt, in the same transaction.
MAX_APART_MS: Final = 60_000


def kind_of(end: LeaseState) -> str:
    """The receipt of an end."""
    return f"lease.{end.replace('_', '-')}"


TOLD: Final = (CREATED, *(kind_of(state) for state in LeaseState if state is not LeaseState.ACTIVE))
"""The kinds of receipt that there is at most one of."""


def new_row(
    terms: LeaseTerms,
    encoded: bytes,
    by: Principal,
    signature: bytes,
    now_ms: int,
    *,
    device_id: str,
    parent_id: LeaseId | None = None,
    cosigned: bytes | None = None,
) -> LeaseRow:
    """A lease that was signed just now and not used yet; `device_id` is of who may use it."""
    return LeaseRow(
        lease_id=LeaseId(terms.lease_id),
        approval_id=ApprovalId(terms.approval_id),
        principal=terms.principal,
        device_id=DeviceId(device_id),
        tool=terms.tool,
        terms=encoded,
        signer=DeviceId(by.device_id),
        signature=signature,
        certificate=by.certificate,
        state=LeaseState.ACTIVE,
        reason="",
        uses=0,
        max_uses=terms.uses,
        created_ms=now_ms,
        expires_ms=terms.expires_ms,
        parent_id=parent_id,
        cosigned=cosigned,
    )


def bears_out(row: LeaseRow, recorded: Iterable[ReceiptRow], keys: Keys) -> bool:
    """Whether these receipts, of the kinds above, say that this lease was given and has no end."""
    found = list(recorded)
    if len(found) != 1 or found[0].entry.kind != CREATED:
        return False
    body = attested(found[0].entry, keys)
    given_ms = parse_time(found[0].entry.time)
    return (
        body is not None
        and _said(body) == _stored(row)
        and abs(given_ms - row.created_ms) <= MAX_APART_MS
    )


def _said(body: Mapping[str, Any]) -> tuple[object, ...]:
    names = ("lease", "terms_digest", "approval", "for", "tool", "approver", "signature")
    return (*(body.get(name) for name in names), body.get("cosigners", []))


def _stored(row: LeaseRow) -> tuple[object, ...]:
    return (
        str(row.lease_id),
        parse_lease(row.terms).digest(),
        str(row.approval_id),
        row.principal,
        row.tool,
        f"device/{row.signer}",
        row.signature.hex(),
        [one.to_json() for one in signers_of(row)[1:]],
    )
