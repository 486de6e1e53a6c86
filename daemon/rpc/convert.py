"""Small translations between stored values and the wire that several services share."""

import re
from collections.abc import Callable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from daemon.calls.live import timestamp
from daemon.errors import BadRequest
from daemon.identity.agents import KnownAgent
from daemon.identity.devices import Known
from daemon.names import as_text
from daemon.store.approvals import AnswerRow, ApprovalRow, ApprovalState
from daemon.store.approvals import Cursor as ApprovalCursor
from daemon.store.calls import CallRow, Cursor
from daemon.store.certificates import CertificateRow
from daemon.store.ids import CallId
from daemon.store.showings import ShownRow
from daemon.tools.registry import Refused, Tool
from daemon.world import PROVENANCE
from stockade.canonical import canonical
from stockade.v1 import agent_pb2, approval_pb2, call_pb2, device_pb2, tool_pb2

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

MAX_PAGE = 500

APPROVAL_STATES = {
    state: approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state.name}")
    for state in ApprovalState
}


def parse_call_id(text: str) -> CallId:
    """A UUIDv7 in its one text form, or BAD_CALL_ID."""
    if not _UUID7.fullmatch(text):
        raise BadRequest(
            "call_id is not a UUIDv7 in canonical text form",
            code="BAD_CALL_ID",
            fix="make a new UUIDv7 (RFC 9562) for every call",
        )
    return CallId(text)


def parse_time_ms(sent: Timestamp) -> int:
    """Milliseconds since 1970, or BAD_REQUEST: what is sent may be in no calendar."""
    try:
        return sent.ToMilliseconds()
    except ValueError:
        raise BadRequest("a time out of range", fix="name one in this calendar") from None


def page_size(asked: int, default: int) -> int:
    """A page's size within bounds, or BAD_PAGE_SIZE."""
    if asked == 0:
        return default
    if not 1 <= asked <= MAX_PAGE:
        raise BadRequest(
            f"page_size is 1 to {MAX_PAGE}", code="BAD_PAGE_SIZE", fix="0 takes the default"
        )
    return asked


def parse_cursor(token: str) -> Cursor | None:
    """The place a page token names, or BAD_PAGE_TOKEN."""
    if not token:
        return None
    milliseconds, _, call_id = token.partition("/")
    if not milliseconds.isdecimal() or not milliseconds.isascii() or len(milliseconds) > 15:
        raise _bad_token()
    return Cursor(int(milliseconds), parse_call_id(call_id))


def parse_approval_cursor(token: str) -> ApprovalCursor | None:
    """The place that a page token of approvals names, or BAD_PAGE_TOKEN."""
    found = parse_cursor(token)
    return None if found is None else ApprovalCursor(found.created_ms, str(found.call_id))


def parse_number_token(token: str) -> int | None:
    """A page token that is a sequence number, or BAD_PAGE_TOKEN."""
    if not token:
        return None
    if not token.isdecimal() or not token.isascii() or len(token) > 15:
        raise _bad_token()
    return int(token)


def _bad_token() -> BadRequest:
    return BadRequest(
        "not a page token of this daemon",
        code="BAD_PAGE_TOKEN",
        fix="send next_page_token of the page before, or none for the first page",
    )


def tool_to_proto(tool: Tool) -> tool_pb2.Tool:
    """A tool's contract."""
    manifest = tool.manifest
    return tool_pb2.Tool(
        name=tool.name,
        version=manifest.version,
        summary=manifest.summary,
        description=manifest.description,
        toolset=manifest.toolset,
        digest=tool.digest,
        provenance=PROVENANCE[tool.origin],
        input_schema=canonical(dict(manifest.input.schema)),
        network=manifest.capabilities.network,
        filesystem_write=manifest.capabilities.filesystem_write,
        external_apis=manifest.capabilities.external_apis,
        secrets=[secret.reference for secret in manifest.secrets],
    )


def refused_to_proto(refused: Refused, *, whole: bool) -> tool_pb2.RefusedTool:
    """A tool folder that was refused: all of it, or its name and the reason's code."""
    error = refused.error
    if not whole:
        return tool_pb2.RefusedTool(folder=as_text(refused.folder.name), reason=str(error.code))
    return tool_pb2.RefusedTool(
        folder=as_text(str(refused.folder)),
        file=as_text(getattr(error, "file", "")),
        key=as_text(getattr(error, "key", "")),
        reason=str(error.code),
        message=as_text(error.message),
        fix=as_text(error.fix),
    )


def call_to_summary(row: CallRow, principal_name: str) -> call_pb2.CallSummary:
    """A stored call as a line of a list."""
    return call_pb2.CallSummary(
        call_id=row.call_id,
        tool=row.tool,
        principal=row.principal,
        principal_name=principal_name,
        state=call_pb2.CallState.Value(f"CALL_STATE_{row.state.name}"),
        reason=row.reason,
        created=timestamp(row.created_ms),
        updated=timestamp(row.updated_ms),
    )


def device_to_proto(device: Known, *, suspended: bool = False) -> device_pb2.Device:
    """A device as others see it."""
    return device_pb2.Device(
        device_id=device.row.device_id,
        name=device.row.name,
        groups=device.groups,
        status=_status(device.row.status.value, suspended),
        created=timestamp(device.row.created_ms),
        certificate_expires=timestamp(device.expires_ms),
        certificates=[_certificate(row) for row in device.certificates],
    )


def agent_to_proto(
    agent: KnownAgent, device_name: str, *, suspended: bool = False
) -> agent_pb2.Agent:
    """An agent as others see it."""
    row, declared = agent.row, agent.identity.declared
    return agent_pb2.Agent(
        agent_id=row.agent_id,
        name=row.name,
        device_id=row.device_id,
        device_name=device_name,
        manifest_digest=row.manifest_digest,
        version=agent.version,
        summary=agent.summary,
        capabilities=agent_pb2.AgentCapabilities(
            toolsets=sorted(declared.toolsets),
            tools=sorted(declared.tools),
            secrets=sorted(declared.secrets),
            hosts=sorted(declared.hosts),
        ),
        status=_status(row.status.value, suspended),
        created=timestamp(row.created_ms),
        revoked=None if row.revoked_ms is None else timestamp(row.revoked_ms),
        certificate_expires=timestamp(agent.expires_ms) if agent.expires_ms else None,
    )


def _status(status: str, suspended: bool) -> str:
    return "suspended" if suspended and status == "active" else status


def _certificate(row: CertificateRow) -> device_pb2.Certificate:
    return device_pb2.Certificate(
        serial=row.serial,
        not_before=timestamp(row.not_before),
        not_after=timestamp(row.not_after),
        revoked=None if row.revoked_ms is None else timestamp(row.revoked_ms),
    )


def approval_to_proto(
    row: ApprovalRow,
    answers: Sequence[AnswerRow],
    shown: Sequence[ShownRow],
    name: Callable[[str], str],
) -> approval_pb2.Approval:
    """An approval with the answers so far, and those who could give one."""
    return approval_pb2.Approval(
        approval_id=row.approval_id,
        call_id=row.call_id,
        state=APPROVAL_STATES[row.state],
        created=timestamp(row.created_ms),
        expires=timestamp(row.expires_ms),
        statement=row.statement,
        answers=[
            approval_pb2.Approval.Answer(
                device_id=given.device_id,
                device_name=name(str(given.device_id)),
                approved=given.answer == "approve",
                reason=given.reason,
                time=timestamp(given.time_ms),
                leased=given.lease_signature is not None,
            )
            for given in answers
        ],
        shown_to=[
            approval_pb2.Approval.Shown(
                device_id=one.device_id,
                device_name=name(str(one.device_id)),
                time=timestamp(one.time_ms),
            )
            for one in shown
        ],
        escalated=None if row.escalated_ms is None else timestamp(row.escalated_ms),
    )
