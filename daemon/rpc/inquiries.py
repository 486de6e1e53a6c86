"""The RPCs that ask policy without consequence: explain, test, replay, diff.

Loaded when the first of them is asked: a daemon that only serves calls does not need it.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import anyio.to_thread

from daemon.errors import BadRequest
from daemon.identity.devices import Devices
from daemon.inquiry.difference import compare
from daemon.inquiry.expectations import parse_tests
from daemon.inquiry.inquiry import Inquiry, Source
from daemon.inquiry.replay import DEFAULT_CALLS, MAX_CALLS
from daemon.inquiry.suggestions import LEAST, Suggestions
from daemon.policy.policies import PolicyInvalid
from daemon.rpc import inquiry_messages as messages
from daemon.rpc.convert import parse_call_id, parse_time_ms
from daemon.rpc.policy_messages import MAX_PROBLEMS, files, problem
from stockade.v1 import policy_pb2


class Inquiries:
    """See the module."""

    def __init__(self, inquiry: Inquiry, suggestions: Suggestions, devices: Devices) -> None:
        self._inquiry = inquiry
        self._suggestions = suggestions
        self._devices = devices

    async def explain(
        self, request: policy_pb2.ExplainPolicyRequest
    ) -> policy_pb2.ExplainPolicyResponse:
        """See ExplainPolicy."""
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

    async def test(self, request: policy_pb2.TestPolicyRequest) -> policy_pb2.TestPolicyResponse:
        """See TestPolicy."""
        tests, problems = parse_tests([(file.name, file.text) for file in request.tests])
        world = None
        try:
            world = await self._inquiry.world_of(messages.parse_source(request.policy))
        except PolicyInvalid as invalid:
            problems = [*invalid.problems, *problems]
        if world is None or problems:
            return policy_pb2.TestPolicyResponse(problems=map(problem, problems[:MAX_PROBLEMS]))
        results = await self._inquiry.test(world, tests)
        return policy_pb2.TestPolicyResponse(
            results=map(messages.result, results), policy_digest=world.digest
        )

    async def replay(
        self, request: policy_pb2.ReplayPolicyRequest
    ) -> AsyncGenerator[policy_pb2.ReplayPolicyResponse, None]:
        """See ReplayPolicy."""
        candidate = await self._inquiry.world_of(messages.parse_source(request.candidate))
        baseline = None
        if not request.recorded:
            baseline = await self._inquiry.world_of(messages.parse_source(request.baseline))
        replay = self._inquiry.replay(candidate, baseline)
        limit = min(request.limit or DEFAULT_CALLS, MAX_CALLS)
        async with aclosing(replay.run(limit, parse_time_ms(request.since))) as changes:
            async for change in changes:
                yield policy_pb2.ReplayPolicyResponse(change=messages.replayed(change))
        summary = messages.summary(replay.summary)
        summary.candidate_digest = candidate.digest
        summary.baseline_digest = baseline.digest if baseline else ""
        yield policy_pb2.ReplayPolicyResponse(summary=summary)

    async def suggest(
        self, request: policy_pb2.SuggestPolicyRequest
    ) -> policy_pb2.SuggestPolicyResponse:
        """See SuggestPolicy."""
        found = await self._suggestions.find(request.least or LEAST)
        return policy_pb2.SuggestPolicyResponse(
            suggestions=[messages.suggestion(one, self._devices) for one in found.suggestions],
            policy_digest=found.policy_digest,
            passed=[
                policy_pb2.SuggestPolicyResponse.Passed(reason=reason, calls=count)
                for reason, count in sorted(found.passed.items())
            ],
        )

    async def diff(self, request: policy_pb2.DiffPolicyRequest) -> policy_pb2.DiffPolicyResponse:
        """See DiffPolicy."""
        before = await self._inquiry.world_of(messages.parse_source(request.before))
        after = await self._inquiry.world_of(messages.parse_source(request.after))
        changes = await anyio.to_thread.run_sync(compare, before.bundle, after.bundle)
        return policy_pb2.DiffPolicyResponse(
            before_digest=before.digest,
            after_digest=after.digest,
            before=files(_other(before.bundle.files, after.bundle.files)),
            after=files(_other(after.bundle.files, before.bundle.files)),
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
                sent.waited_seconds,
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


def _other(own: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """The files that are not the same there."""
    return {name: text for name, text in own.items() if others.get(name) != text}
