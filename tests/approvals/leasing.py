"""Giving leases over the wire, as an approver's client does."""

import time
from contextlib import suppress
from typing import Any

from stockade.approving import lease_for, sign_answer, sign_lease, verified
from stockade.client import Client
from stockade.errors import Conflict
from stockade.lease import LeaseTerms
from stockade.v1 import approval_pb2, call_pb2
from tests.promises.acting import Waiting, ask


def hence(seconds: float) -> int:
    """Milliseconds since 1970, so many seconds from now."""
    return int((time.time() + seconds) * 1000)


def revoke_all(owner: Client) -> None:
    """No lease is left; one may end by itself before its turn, or with another."""
    for lease in owner.list_leases():
        with suppress(Conflict):
            owner.revoke_lease(lease.lease_id)


def give(
    caller: Client,
    approver: Client,
    tool: str,
    /,
    *,
    seconds: float = 600,
    uses: int = 5,
    bounds: Any = None,
    tied: bool = True,
    **arguments: Any,
) -> LeaseTerms:
    """A lease that was given with the approval of a call, which has run."""
    waiting = ask(caller, tool, **arguments)
    terms = terms_for(waiting, seconds=seconds, uses=uses, bounds=bounds, tied=tied)
    approver.answer_approval(waiting.approval, approve=True, lease=terms)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    return terms


def terms_for(
    waiting: Waiting,
    *,
    seconds: float = 600,
    uses: int = 5,
    bounds: Any = None,
    tied: bool = True,
) -> LeaseTerms:
    statement = verified(waiting.approval)
    return lease_for(statement, expires_ms=hence(seconds), uses=uses, bounds=bounds, tied=tied)


def raw(
    approver: Client, waiting: Waiting, terms: bytes, signature: bytes | None = None
) -> approval_pb2.AnswerApprovalResponse:
    """A yes with a lease of any make."""
    key = approver.credentials.key
    request = approval_pb2.AnswerApprovalRequest(
        approval_id=waiting.approval.approval_id,
        approve=True,
        signature=sign_answer(key, waiting.approval.statement, True, ""),
        lease_terms=terms,
        lease_signature=sign_lease(key, terms) if signature is None else signature,
    )
    return approver._connection.ask(approver._approvals.AnswerApproval, request)


def asked(client: Client, tool: str, /, **arguments: object) -> bool:
    """Whether a person is asked about this call; one that is, is cancelled."""
    events = client.call(tool, arguments)
    for event in events:
        if event.HasField("awaiting_approval"):
            client.cancel_call(event.call_id)
            return True
        if event.HasField("finished"):
            assert event.finished.state == call_pb2.CALL_STATE_SUCCEEDED, event
            return False
    raise AssertionError("no end")


def lease_of(approval: approval_pb2.Approval) -> LeaseTerms:
    """An exact lease with this approval."""
    return lease_for(verified(approval), expires_ms=hence(600), uses=5)
