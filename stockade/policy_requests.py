"""The part of the client that concerns policy: one method per RPC of PolicyService.

Raises `StockadeError` and nothing else.
"""

from collections.abc import Iterable, Sequence

from stockade.connection import Connection, Stream
from stockade.v1 import policy_pb2, policy_pb2_grpc

# Building a set of ten thousand policies to ask it takes seconds.
INQUIRY_SECONDS = 120.0


class PolicyRequests:
    """Requests about policy over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._policy = policy_pb2_grpc.PolicyServiceStub(connection.channel)

    def get_policy(self, digest: str = "") -> policy_pb2.GetPolicyResponse:
        """The policy set in force, or an earlier one, by number or digest."""
        return self._connection.ask(
            self._policy.GetPolicy, policy_pb2.GetPolicyRequest(digest=digest)
        )

    def check_policy(
        self, files: Sequence[policy_pb2.PolicyFile]
    ) -> policy_pb2.CheckPolicyResponse:
        """What is wrong with a policy set. Changes nothing."""
        return self._connection.ask(
            self._policy.CheckPolicy, policy_pb2.CheckPolicyRequest(files=files)
        )

    def apply_policy(
        self, files: Sequence[policy_pb2.PolicyFile]
    ) -> policy_pb2.ApplyPolicyResponse:
        """Puts a policy set in force at once, or changes nothing."""
        return self._connection.ask(
            self._policy.ApplyPolicy, policy_pb2.ApplyPolicyRequest(files=files)
        )

    def rollback_policy(
        self, version: str = "", *, entities: bool = False
    ) -> policy_pb2.RollbackPolicyResponse:
        """Puts an earlier set in force again; empty: the last one that had other files."""
        request = policy_pb2.RollbackPolicyRequest(version=version, entities=entities)
        return self._connection.ask(self._policy.RollbackPolicy, request)

    def list_policy_versions(self) -> policy_pb2.ListPolicyVersionsResponse:
        """The sets that were in force, newest first."""
        return self._connection.ask(
            self._policy.ListPolicyVersions, policy_pb2.ListPolicyVersionsRequest()
        )

    def get_entities(self) -> policy_pb2.GetEntitiesResponse:
        """Groups in groups, toolsets, tags, and whether it is a time of maintenance."""
        return self._connection.ask(self._policy.GetEntities, policy_pb2.GetEntitiesRequest())

    def change_entities(
        self, changes: Iterable[policy_pb2.ChangeEntitiesRequest.Change]
    ) -> policy_pb2.ChangeEntitiesResponse:
        """Changes them, all of it or nothing."""
        request = policy_pb2.ChangeEntitiesRequest(changes=changes)
        return self._connection.ask(self._policy.ChangeEntities, request)

    def set_maintenance(self, *, on: bool) -> policy_pb2.SetMaintenanceResponse:
        """Begins or ends a time of maintenance."""
        request = policy_pb2.SetMaintenanceRequest(on=on)
        return self._connection.ask(self._policy.SetMaintenance, request)

    def explain_policy(
        self, request: policy_pb2.ExplainPolicyRequest
    ) -> policy_pb2.ExplainPolicyResponse:
        """Why a call was decided as it was; or how one would be that nobody has made."""
        return self._connection.ask(self._policy.ExplainPolicy, request, seconds=INQUIRY_SECONDS)

    def test_policy(
        self,
        tests: Sequence[policy_pb2.PolicyFile],
        policy: policy_pb2.PolicySource | None = None,
    ) -> policy_pb2.TestPolicyResponse:
        """What a set answers to the requests in test files; the set in force if none is given."""
        request = policy_pb2.TestPolicyRequest(policy=policy, tests=tests)
        return self._connection.ask(self._policy.TestPolicy, request, seconds=INQUIRY_SECONDS)

    def suggest_policy(self, least: int = 0) -> policy_pb2.SuggestPolicyResponse:
        """Policies that would have answered what was approved at least so often."""
        request = policy_pb2.SuggestPolicyRequest(least=least)
        return self._connection.ask(self._policy.SuggestPolicy, request, seconds=INQUIRY_SECONDS)

    def replay_policy(
        self, request: policy_pb2.ReplayPolicyRequest
    ) -> Stream[policy_pb2.ReplayPolicyResponse]:
        """The calls that a set would decide otherwise, as they are found; then a summary."""
        return self._connection.follow(self._policy.ReplayPolicy, request)

    def diff_policy(
        self,
        before: policy_pb2.PolicySource | None = None,
        after: policy_pb2.PolicySource | None = None,
    ) -> policy_pb2.DiffPolicyResponse:
        """What differs between two sets; unset is the one in force."""
        request = policy_pb2.DiffPolicyRequest(before=before, after=after)
        return self._connection.ask(self._policy.DiffPolicy, request, seconds=INQUIRY_SECONDS)
