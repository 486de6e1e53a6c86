"""The part of the client that concerns people's answers: approvals and leases.

Raises `StockadeError` and nothing else.
"""

from collections.abc import Iterator

from stockade.approving import sign_answer, sign_lease, verified
from stockade.connection import Connection, Stream
from stockade.credentials import Credentials
from stockade.lease import LeaseTerms
from stockade.v1 import (
    approval_pb2,
    approval_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
)


class ApprovalRequests:
    """Requests about approvals and leases over a connection."""

    def __init__(self, connection: Connection, credentials: Credentials) -> None:
        self._connection = connection
        # The newest: answers are signed with their key.
        self.credentials = credentials
        self._approvals = approval_pb2_grpc.ApprovalServiceStub(connection.channel)
        self._leases = lease_pb2_grpc.LeaseServiceStub(connection.channel)

    def list_approvals(
        self, *, settled: bool = False, page_size: int = 0
    ) -> list[approval_pb2.Approval]:
        """The first page of the pending approvals, or with `settled` of all of them."""
        return list(self.page_of_approvals(settled=settled, page_size=page_size).approvals)

    def page_of_approvals(
        self, *, settled: bool = False, page_size: int = 0, page_token: str = ""
    ) -> approval_pb2.ListApprovalsResponse:
        """A page of approvals: the pending ones, oldest first, or all of them, newest first."""
        request = approval_pb2.ListApprovalsRequest(
            all=settled, page_size=page_size, page_token=page_token
        )
        return self._connection.ask(self._approvals.ListApprovals, request)

    def all_approvals(self) -> Iterator[approval_pb2.Approval]:
        """Every pending approval, oldest first, page by page."""
        token = ""
        while True:
            page = self.page_of_approvals(page_size=500, page_token=token)
            yield from page.approvals
            token = page.next_page_token
            if not token:
                return

    def get_approval(self, approval_id: str) -> approval_pb2.Approval:
        """One approval. Show people `approving.verified(approval)`."""
        request = approval_pb2.GetApprovalRequest(approval_id=approval_id)
        return self._connection.ask(self._approvals.GetApproval, request).approval

    def watch_approvals(self) -> Stream[approval_pb2.ApprovalEvent]:
        """The pending approvals, then every change."""
        return self._connection.follow(
            self._approvals.WatchApprovals, approval_pb2.WatchApprovalsRequest()
        )

    def answer_approval(
        self,
        approval: approval_pb2.Approval,
        *,
        approve: bool,
        reason: str = "",
        lease: LeaseTerms | None = None,
    ) -> approval_pb2.AnswerApprovalResponse:
        """Signs an answer to exactly the statement in `approval`, as it was shown, and sends it.

        With a yes, `lease` is signed too: calls like this one then run without being asked about.
        """
        statement = verified(approval)
        terms = b"" if lease is None else lease.encode()
        request = approval_pb2.AnswerApprovalRequest(
            approval_id=statement.approval_id,
            approve=approve,
            reason=reason,
            signature=sign_answer(self.credentials.key, approval.statement, approve, reason),
            lease_terms=terms,
            lease_signature=sign_lease(self.credentials.key, terms) if terms else b"",
        )
        return self._connection.ask(self._approvals.AnswerApproval, request)

    def list_leases(self, *, ended: bool = False, page_size: int = 0) -> list[lease_pb2.Lease]:
        """The leases that stand, or with `ended` all of them, newest first."""
        request = lease_pb2.ListLeasesRequest(all=ended, page_size=page_size)
        return list(self._connection.ask(self._leases.ListLeases, request).leases)

    def hand_lease(self, terms: LeaseTerms) -> lease_pb2.HandLeaseResponse:
        """Signs and hands a part of a lease to an agent: `approving.narrowed` makes the terms."""
        encoded = terms.encode()
        request = lease_pb2.HandLeaseRequest(
            lease_terms=encoded, lease_signature=sign_lease(self.credentials.key, encoded)
        )
        return self._connection.ask(self._leases.HandLease, request)

    def revoke_lease(
        self, lease_id: str, *, running: bool = False
    ) -> lease_pb2.RevokeLeaseResponse:
        """Ends a lease; with `running`, also the calls that run by it."""
        request = lease_pb2.RevokeLeaseRequest(lease_id=lease_id, running=running)
        return self._connection.ask(self._leases.RevokeLease, request)
