"""PolicyService: the operator's Cedar, and what it is told of the entities."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio.to_thread

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.leases.book import LeaseBook
from daemon.parts import Parts
from daemon.principal import current_principal
from daemon.rpc.entity_messages import memberships, parse_changes, tags
from daemon.rpc.faults import Context
from daemon.rpc.policy_messages import MAX_PROBLEMS, parse_files, problem
from daemon.rpc.policy_messages import files as to_files
from stockade.v1 import policy_pb2, policy_pb2_grpc

if TYPE_CHECKING:
    from daemon.rpc.inquiries import Inquiries


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """See proto/stockade/v1/policy.proto."""

    def __init__(self, parts: Parts, leases: LeaseBook) -> None:
        self._parts = parts
        self._leases = leases
        self._policies = parts.policies
        self._entities = parts.entities
        self._worlds = parts.worlds
        self._inquiries: Inquiries | None = None

    async def GetPolicy(
        self, request: policy_pb2.GetPolicyRequest, context: Context
    ) -> policy_pb2.GetPolicyResponse:
        world = self._worlds.current
        if request.digest in ("", world.digest):
            digest, files = world.digest, world.bundle.files
            schema, data = world.bundle.schema.text, world.data.encode()
        else:
            version = await self._policies.version(request.digest)
            digest, files, schema = version.digest, version.files, version.schema or ""
            data = version.data.encode() if version.data else b""
        return policy_pb2.GetPolicyResponse(
            digest=digest,
            files=to_files(files),
            schema=schema,
            entities=data,
        )

    async def CheckPolicy(
        self, request: policy_pb2.CheckPolicyRequest, context: Context
    ) -> policy_pb2.CheckPolicyResponse:
        problems, digest = await self._policies.check(parse_files(request.files))
        return policy_pb2.CheckPolicyResponse(
            problems=map(problem, problems[:MAX_PROBLEMS]),
            digest=digest,
        )

    async def ApplyPolicy(
        self, request: policy_pb2.ApplyPolicyRequest, context: Context
    ) -> policy_pb2.ApplyPolicyResponse:
        applied = await self._policies.apply(parse_files(request.files), str(current_principal()))
        return policy_pb2.ApplyPolicyResponse(
            digest=applied.digest, receipt=receipt(applied.entry), version=applied.number
        )

    async def RollbackPolicy(
        self, request: policy_pb2.RollbackPolicyRequest, context: Context
    ) -> policy_pb2.RollbackPolicyResponse:
        applied = await self._policies.rollback(
            request.version, str(current_principal()), with_data=request.entities
        )
        return policy_pb2.RollbackPolicyResponse(
            digest=applied.digest, receipt=receipt(applied.entry), version=applied.number
        )

    async def ListPolicyVersions(
        self, request: policy_pb2.ListPolicyVersionsRequest, context: Context
    ) -> policy_pb2.ListPolicyVersionsResponse:
        history = await self._policies.history()
        return policy_pb2.ListPolicyVersionsResponse(
            versions=[
                policy_pb2.ListPolicyVersionsResponse.PolicyVersion(
                    digest=activation.digest,
                    activated=timestamp(activation.activated_ms),
                    activated_by=activation.activated_by,
                    in_force=place == 0,
                    version=activation.number,
                    cause=activation.cause,
                    files_digest=activation.files,
                )
                for place, activation in enumerate(history)
            ]
        )

    async def GetEntities(
        self, request: policy_pb2.GetEntitiesRequest, context: Context
    ) -> policy_pb2.GetEntitiesResponse:
        data = self._entities.data
        return policy_pb2.GetEntitiesResponse(
            memberships=memberships(data, self._entities.exists),
            tags=tags(data, self._entities.exists),
            maintenance=data.maintenance,
            policy_digest=self._worlds.current.digest,
        )

    async def ChangeEntities(
        self, request: policy_pb2.ChangeEntitiesRequest, context: Context
    ) -> policy_pb2.ChangeEntitiesResponse:
        done = await self._entities.change(parse_changes(request.changes), current_principal())
        return policy_pb2.ChangeEntitiesResponse(
            policy_digest=done.digest, version=done.number, receipt=receipt(done.entry)
        )

    async def SetMaintenance(
        self, request: policy_pb2.SetMaintenanceRequest, context: Context
    ) -> policy_pb2.SetMaintenanceResponse:
        done = await self._entities.set_maintenance(request.on, current_principal())
        return policy_pb2.SetMaintenanceResponse(
            on=request.on, policy_digest=done.digest, receipt=receipt(done.entry)
        )

    async def ExplainPolicy(
        self, request: policy_pb2.ExplainPolicyRequest, context: Context
    ) -> policy_pb2.ExplainPolicyResponse:
        return await (await self._asking()).explain(request)

    async def TestPolicy(
        self, request: policy_pb2.TestPolicyRequest, context: Context
    ) -> policy_pb2.TestPolicyResponse:
        return await (await self._asking()).test(request)

    async def ReplayPolicy(
        self, request: policy_pb2.ReplayPolicyRequest, context: Context
    ) -> AsyncIterator[policy_pb2.ReplayPolicyResponse]:
        async with aclosing((await self._asking()).replay(request)) as answers:
            async for answer in answers:
                yield answer

    async def DiffPolicy(
        self, request: policy_pb2.DiffPolicyRequest, context: Context
    ) -> policy_pb2.DiffPolicyResponse:
        return await (await self._asking()).diff(request)

    async def SuggestPolicy(
        self, request: policy_pb2.SuggestPolicyRequest, context: Context
    ) -> policy_pb2.SuggestPolicyResponse:
        return await (await self._asking()).suggest(request)

    async def _asking(self) -> "Inquiries":
        if self._inquiries is None:
            self._inquiries = await anyio.to_thread.run_sync(self._make)
        return self._inquiries

    def _make(self) -> "Inquiries":
        """Imports what only these requests need."""
        from daemon.inquiry.archive import Archive
        from daemon.inquiry.inquiry import Inquiry
        from daemon.inquiry.suggestions import Suggestions
        from daemon.rpc.inquiries import Inquiries

        parts, base = self._parts, self._parts.base
        inquiry = Inquiry(
            worlds=parts.worlds,
            policies=parts.policies,
            devices=parts.devices,
            archive=Archive(parts.policies, base.reader),
            reader=base.reader,
            clock=base.clock,
            chain_id=base.estate.chain_id,
            standing_for=self._leases.standing_for,
        )
        suggestions = Suggestions(
            worlds=parts.worlds,
            policies=parts.policies,
            devices=parts.devices,
            reader=base.reader,
            clock=base.clock,
            keys=base.ledger_keys,
        )
        return Inquiries(inquiry, suggestions, parts.devices)
