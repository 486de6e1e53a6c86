"""Explanations, and what they are asked with, between the wire and the daemon's own values."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from daemon.calls.asked import Asked
from daemon.calls.hearing import Ruling
from daemon.calls.judge import milli
from daemon.calls.live import timestamp
from daemon.errors import BadRequest
from daemon.identity.devices import Devices
from daemon.inquiry.difference import Change
from daemon.inquiry.explanation import Answered, Explained, recorded_question
from daemon.inquiry.inquiry import PastCall, Source
from daemon.inquiry.replay import Decided, Replayed, Summary
from daemon.inquiry.suggestions import FILE, MOST_NAMED, Suggestion
from daemon.inquiry.suppose import Somebody
from daemon.inquiry.trial import Result
from daemon.rpc.convert import parse_time_ms
from daemon.rpc.policy_messages import parse_files, problem
from ledger.receipt import parse_time
from policy.risk import score
from policy.snapshot import KeptEntity
from policy.statements import PolicyRef
from policy.values import EntityUid
from stockade.canonical import canonical
from stockade.v1 import call_pb2, policy_pb2

_VERDICTS: Mapping[Ruling, "call_pb2.CallEvent.Decision.Verdict.ValueType"] = {
    Ruling.PERMIT: call_pb2.CallEvent.Decision.VERDICT_PERMITTED,
    Ruling.ASK: call_pb2.CallEvent.Decision.VERDICT_NEEDS_APPROVAL,
    Ruling.DENY: call_pb2.CallEvent.Decision.VERDICT_DENIED,
}


def parse_source(sent: policy_pb2.PolicySource) -> Source:
    """Which set is meant."""
    match sent.WhichOneof("source"):
        case "version":
            return Source(version=sent.version)
        case "files":
            return Source(files=parse_files(sent.files.files))
    return Source()


def parse_somebody(sent: policy_pb2.Somebody) -> Somebody:
    """Who is meant."""
    match sent.WhichOneof("who"):
        case "name":
            return Somebody(name=sent.name)
        case "device":
            return Somebody(groups=tuple(sent.device.groups), agent=sent.device.agent)
    raise BadRequest("nobody is named", fix="say who would ask")


def parse_moment(sent: Timestamp) -> datetime | None:
    """The time, if one is given."""
    if not sent.ByteSize():
        return None
    moment = parse_time_ms(sent)
    try:
        return datetime.fromtimestamp(moment / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest("a time out of range", fix="name one in this calendar") from None


def past_call(found: PastCall) -> policy_pb2.ExplainPolicyResponse:
    """A call that was made, on the wire."""
    row = found.row
    return policy_pb2.ExplainPolicyResponse(
        call_id=row.call_id,
        principal=row.principal,
        tool=row.tool,
        arguments=row.arguments or found.redacted or b"",
        arguments_redacted=found.redacted is not None and not row.arguments,
        workspace=row.workspace or "",
        origin=row.origin,
        rulings=[explanation(one) for one in found.rulings],
        answers=[_answer(body) for body in found.answers],
        today=explanation(found.today) if found.today else None,
        differences=found.differences,
        today_unknown=found.today_unknown,
    )


def explanation(one: Explained) -> policy_pb2.Explanation:
    """One ruling on the wire."""
    return policy_pb2.Explanation(
        verdict=_VERDICTS[one.ruling],
        reason=one.code,
        message=one.message,
        fix=one.fix,
        receipt_kind=one.kind,
        receipt_sequence=one.sequence,
        time=timestamp(round(one.time.timestamp() * 1000)) if one.time else None,
        policy_digest=one.policy_digest,
        entities_digest=one.entities_digest,
        risk_milli=milli(score(one.risk)) if one.risk else 0,
        risk_inputs=_json(one.risk.to_json()) if one.risk else b"",
        tier_floor=one.floor.label if one.floor else "",
        tier=one.tier.label if one.tier else "",
        tier_reason=one.tier_reason,
        questions=[question(answered, one.texts) for answered in one.questions],
        entities=_json([_entity(entity) for entity in one.entities]) if one.entities else b"",
        notes=one.notes,
    )


def question(answered: Answered, texts: Mapping[str, str]) -> policy_pb2.PolicyQuestion:
    """One question on the wire."""
    asked, context = answered.asked, answered.context
    kept = {} if context is None else {k: v for k, v in context.items() if k != "arguments"}
    return policy_pb2.PolicyQuestion(
        principal=asked.principal,
        action=asked.action,
        resource=asked.resource,
        allowed=asked.allowed,
        code=asked.code,
        policies=[reference(ref) for ref in asked.policies],
        texts=[texts.get(ref.id, "") for ref in asked.policies],
        errors=asked.errors,
        context=b"" if context is None else _json(kept),
    )


def principal(uid: EntityUid) -> str:
    """Who, as receipts have it."""
    return f"{uid.type.lower()}/{uid.id}"


def result(one: Result) -> policy_pb2.TestPolicyResponse.Result:
    """A policy test's."""
    return policy_pb2.TestPolicyResponse.Result(
        file=one.test.file,
        line=one.test.line,
        name=one.test.request.name,
        passed=one.passed,
        differences=[
            policy_pb2.TestPolicyResponse.Difference(
                what=mismatch.what, expected=mismatch.expected, found=mismatch.found
            )
            for mismatch in one.mismatches
        ],
        found=one.found,
        policies=[reference(ref) for ref in one.policies],
    )


def replayed(one: Replayed) -> policy_pb2.ReplayPolicyResponse.Change:
    """A call that would be decided otherwise."""
    row = one.row
    return policy_pb2.ReplayPolicyResponse.Change(
        call_id=row.call_id,
        principal=row.principal,
        tool=row.tool,
        time=timestamp(row.created_ms),
        before=_decided(one.before),
        after=_decided(one.after),
        more=one.more,
        less=one.less,
    )


def summary(found: Summary) -> policy_pb2.ReplayPolicyResponse.Summary:
    """What a replay looked at."""
    return policy_pb2.ReplayPolicyResponse.Summary(
        calls=found.calls,
        same=found.same,
        more=found.more,
        less=found.less,
        passed=[
            policy_pb2.ReplayPolicyResponse.Passed(reason=reason, calls=count)
            for reason, count in found.passed.most_common()
        ],
        newest=timestamp(found.newest_ms) if found.calls else None,
        oldest=timestamp(found.oldest_ms) if found.calls else None,
    )


def change(one: Change) -> policy_pb2.DiffPolicyResponse.Change:
    """A policy that is not as it was."""
    return policy_pb2.DiffPolicyResponse.Change(
        what=one.what,
        id=one.id,
        effect=one.effect,
        before=reference(one.before) if one.before else None,
        after=reference(one.after) if one.after else None,
        may_permit_more=one.may_permit_more,
    )


def reference(ref: PolicyRef) -> call_pb2.PolicyReference:
    """A policy by its place."""
    return call_pb2.PolicyReference(id=ref.id, file=ref.file, line=ref.line)


def _decided(one: Decided) -> policy_pb2.ReplayPolicyResponse.Outcome:
    return policy_pb2.ReplayPolicyResponse.Outcome(
        ruling=one.ruling,
        reason=one.reason,
        tier=one.tier.label if one.tier else "",
        policies=[reference(ref) for ref in one.policies],
    )


def suggestion(one: Suggestion, devices: Devices) -> policy_pb2.SuggestPolicyResponse.Suggestion:
    """A policy that is suggested."""
    approved = one.approved
    known = (devices.get(device_id) for device_id in sorted(approved.approvers))
    return policy_pb2.SuggestPolicyResponse.Suggestion(
        id=one.id,
        file=FILE,
        text=one.text,
        principal=approved.call.principal,
        holder_name=devices.shown(approved.call.principal, approved.device_id),
        tool=approved.call.tool,
        arguments=canonical(dict(approved.call.arguments)),
        tier=approved.call.tier,
        secrets=approved.call.secrets,
        times=len(approved.times),
        first=timestamp(approved.times[-1]),
        last=timestamp(approved.times[0]),
        approver_names=[device.row.name for device in known if device is not None],
        call_ids=approved.call_ids[:MOST_NAMED],
        problems=map(problem, one.problems),
    )


def _answer(body: Mapping[str, Any]) -> policy_pb2.ExplainPolicyResponse.ApprovalAnswer:
    asked: list[Asked] = [recorded_question(one) for one in body.get("questions", ())]
    return policy_pb2.ExplainPolicyResponse.ApprovalAnswer(
        approver=str(body.get("approver", "")),
        approved=body.get("answer") == "approve",
        reason=str(body.get("reason", "")),
        time=timestamp(parse_time(body["time"])),
        questions=[question(Answered(one), {}) for one in asked],
    )


def _entity(entity: KeptEntity) -> dict[str, object]:
    return {
        "uid": str(entity.uid),
        "parents": [str(parent) for parent in entity.parents],
        "attributes": entity.attributes,
        "tags": entity.tags,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
