"""PolicyService: the operator's Cedar, read, checked, changed."""

from collections.abc import Iterable

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.errors import BadRequest
from daemon.policies import Policies
from daemon.principal import current_principal
from daemon.rpc.faults import Context
from daemon.worlds import Worlds
from stockade.v1 import policy_pb2, policy_pb2_grpc


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """See proto/stockade/v1/policy.proto."""

    def __init__(self, policies: Policies, worlds: Worlds) -> None:
        self._policies = policies
        self._worlds = worlds

    async def GetPolicy(
        self, request: policy_pb2.GetPolicyRequest, context: Context
    ) -> policy_pb2.GetPolicyResponse:
        bundle = self._worlds.current.bundle
        digest = request.digest or bundle.digest
        files = bundle.files if digest == bundle.digest else await self._policies.files_of(digest)
        return policy_pb2.GetPolicyResponse(
            digest=digest,
            files=[policy_pb2.PolicyFile(name=name, text=files[name]) for name in sorted(files)],
            schema=bundle.schema.text,
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
        digest, entry = await self._policies.apply(_files(request.files), str(current_principal()))
        return policy_pb2.ApplyPolicyResponse(digest=digest, receipt=receipt(entry))

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
                    in_force=number == 0,
                )
                for number, activation in enumerate(history)
            ]
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
