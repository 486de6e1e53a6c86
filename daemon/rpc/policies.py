"""PolicyService: the operator's Cedar, and what it is told of the entities."""

from collections.abc import Iterable

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.entities import Entities
from daemon.errors import BadRequest
from daemon.policies import Policies
from daemon.principal import current_principal
from daemon.rpc.entity_messages import memberships, parse_changes, tags
from daemon.rpc.faults import Context
from daemon.worlds import Worlds
from stockade.v1 import policy_pb2, policy_pb2_grpc


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """See proto/stockade/v1/policy.proto."""

    def __init__(self, policies: Policies, entities: Entities, worlds: Worlds) -> None:
        self._policies = policies
        self._entities = entities
        self._worlds = worlds

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
            files=[policy_pb2.PolicyFile(name=name, text=files[name]) for name in sorted(files)],
            schema=schema,
            entities=data,
        )

    async def CheckPolicy(
        self, request: policy_pb2.CheckPolicyRequest, context: Context
    ) -> policy_pb2.CheckPolicyResponse:
        problems, digest = await self._policies.check(_files(request.files))
        return policy_pb2.CheckPolicyResponse(
            problems=[
                policy_pb2.PolicyProblem(
                    file=p.file, line=p.line, code=p.code, message=p.message, fix=p.fix
                )
                for p in problems
            ],
            digest=digest,
        )

    async def ApplyPolicy(
        self, request: policy_pb2.ApplyPolicyRequest, context: Context
    ) -> policy_pb2.ApplyPolicyResponse:
        applied = await self._policies.apply(_files(request.files), str(current_principal()))
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


def _files(sent: Iterable[policy_pb2.PolicyFile]) -> dict[str, str]:
    files: dict[str, str] = {}
    for file in sent:
        if file.name in files:
            raise BadRequest(
                f"{file.name!r:.80} is given twice",
                code="DUPLICATE_FILE",
                fix="send each file once, under its own name",
            )
        files[file.name] = file.text
    return files
