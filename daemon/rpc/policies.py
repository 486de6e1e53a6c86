"""PolicyService: the operator's Cedar, and what it is told of the entities."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

import anyio.to_thread

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.entities import Entities
from daemon.errors import BadRequest
from daemon.inquiry.difference import compare
from daemon.inquiry.expectations import parse_tests
from daemon.inquiry.inquiry import Inquiry, Source
from daemon.inquiry.replay import DEFAULT_CALLS, MAX_CALLS
from daemon.policies import Policies, PolicyInvalid
from daemon.principal import current_principal
from daemon.rpc import inquiry_messages as messages
from daemon.rpc.convert import parse_call_id
from daemon.rpc.entity_messages import memberships, parse_changes, tags
from daemon.rpc.faults import Context
from daemon.worlds import Worlds
from stockade.v1 import policy_pb2, policy_pb2_grpc

MAX_PROBLEMS = 1000  # an answer has to fit a message


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """See proto/stockade/v1/policy.proto."""

    def __init__(
        self, policies: Policies, entities: Entities, inquiry: Inquiry, worlds: Worlds
    ) -> None:
        self._policies = policies
        self._entities = entities
        self._inquiry = inquiry
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
            files=messages.files(files),
            schema=schema,
            entities=data,
        )

    async def CheckPolicy(
        self, request: policy_pb2.CheckPolicyRequest, context: Context
    ) -> policy_pb2.CheckPolicyResponse:
        problems, digest = await self._policies.check(_files(request.files))
        return policy_pb2.CheckPolicyResponse(
            problems=map(messages.problem, problems[:MAX_PROBLEMS]),
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

    async def ExplainPolicy(
        self, request: policy_pb2.ExplainPolicyRequest, context: Context
    ) -> policy_pb2.ExplainPolicyResponse:
        match request.WhichOneof("question"):
            case "call_id":
                found = await self._inquiry.past_call(parse_call_id(request.call_id))
                return messages.past_call(found)
            case "call":
                return await self._supposed_call(
                    request.call, messages.parse_source(request.policy)
                )
            case "act":
                return await self._supposed_act(request.act, messages.parse_source(request.policy))
        raise BadRequest("nothing is asked", fix="name a call, or suppose one")

    async def TestPolicy(
        self, request: policy_pb2.TestPolicyRequest, context: Context
    ) -> policy_pb2.TestPolicyResponse:
        tests, problems = parse_tests([(file.name, file.text) for file in request.tests])
        try:
            world = await self._inquiry.world_of(messages.parse_source(request.policy))
        except PolicyInvalid as invalid:
            problems = [*invalid.problems, *problems]
            world = self._worlds.current
        if problems:
            return policy_pb2.TestPolicyResponse(problems=map(messages.problem, problems))
        results = await self._inquiry.test(world, tests)
        return policy_pb2.TestPolicyResponse(
            results=map(messages.result, results), policy_digest=world.digest
        )

    async def ReplayPolicy(
        self, request: policy_pb2.ReplayPolicyRequest, context: Context
    ) -> AsyncIterator[policy_pb2.ReplayPolicyResponse]:
        candidate = await self._inquiry.world_of(messages.parse_source(request.candidate))
        baseline = None
        if not request.recorded:
            baseline = await self._inquiry.world_of(messages.parse_source(request.baseline))
        replay = self._inquiry.replay(candidate, baseline)
        limit = min(request.limit or DEFAULT_CALLS, MAX_CALLS)
        async with aclosing(replay.run(limit, request.since.ToMilliseconds())) as changes:
            async for change in changes:
                yield policy_pb2.ReplayPolicyResponse(change=messages.replayed(change))
        summary = messages.summary(replay.summary)
        summary.candidate_digest = candidate.digest
        summary.baseline_digest = baseline.digest if baseline else ""
        yield policy_pb2.ReplayPolicyResponse(summary=summary)

    async def DiffPolicy(
        self, request: policy_pb2.DiffPolicyRequest, context: Context
    ) -> policy_pb2.DiffPolicyResponse:
        before = await self._inquiry.world_of(messages.parse_source(request.before))
        after = await self._inquiry.world_of(messages.parse_source(request.after))
        changes = await anyio.to_thread.run_sync(compare, before.bundle, after.bundle)
        return policy_pb2.DiffPolicyResponse(
            before_digest=before.digest,
            after_digest=after.digest,
            before=messages.files(before.bundle.files),
            after=messages.files(after.bundle.files),
            changes=map(messages.change, changes),
        )

    async def _supposed_call(
        self, sent: policy_pb2.SupposedCall, source: Source
    ) -> policy_pb2.ExplainPolicyResponse:
        world = await self._inquiry.world_of(source)
        supposed, explained = await self._inquiry.supposed_call(
            world,
            messages.parse_somebody(sent.by),
            sent.tool,
            sent.arguments,
            self._inquiry.around(
                messages.parse_moment(sent.time),
                sent.origin,
                sent.maintenance if sent.HasField("maintenance") else None,
            ),
            [messages.parse_somebody(one) for one in sent.approvers] if sent.attended else None,
        )
        return policy_pb2.ExplainPolicyResponse(
            principal=messages.principal(supposed.by.subjects[0]),
            tool=sent.tool,
            arguments=sent.arguments or b"{}",
            workspace=supposed.case.workspace,
            origin=sent.origin,
            rulings=[messages.explanation(explained)],
        )

    async def _supposed_act(
        self, sent: policy_pb2.SupposedAct, source: Source
    ) -> policy_pb2.ExplainPolicyResponse:
        world = await self._inquiry.world_of(source)
        person, explained = await self._inquiry.supposed_act(
            world,
            messages.parse_somebody(sent.by),
            sent.action,
            self._inquiry.around(
                messages.parse_moment(sent.time),
                sent.origin,
                sent.maintenance if sent.HasField("maintenance") else None,
            ),
        )
        return policy_pb2.ExplainPolicyResponse(
            principal=messages.principal(person.subjects[0]),
            origin=sent.origin,
            rulings=[messages.explanation(explained)],
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
