"""What a request is, before anybody judges it: its tool, its arguments, or why there are none.

Pure but for the nonce. A refusal here is a verdict like policy's, so that it is recorded like one.
"""

import secrets
from dataclasses import dataclass, field

from uuid_utils.compat import uuid7

from daemon.calls.hearing import Ruling
from daemon.calls.judge import Candidate, Verdict
from daemon.calls.live import LiveCall, Request
from daemon.tools.arguments import parse_arguments, validate
from daemon.tools.errors import ArgumentsError
from daemon.world import World
from stockade.statement import PolicyLine, Statement

MAX_TOOL_NAME_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """A candidate for judgement, or the refusal of one."""

    tool_name: str
    tool_digest: str
    canonical: bytes = field(repr=False)
    candidate: Candidate | None = None
    refusal: Verdict | None = None

    def require(self) -> Candidate:
        """The candidate of a request that was not refused."""
        assert self.candidate is not None  # noqa: S101 - exactly one of the two is set
        return self.candidate


def prepare(world: World, request: Request) -> Prepared:
    """Finds the tool and reads the arguments strictly."""
    tool = world.registry.get(request.tool)
    # What no tool is called may be anything: shown in ASCII, and not at any length.
    name = tool.name if tool else ascii(request.tool)[1:-1][:MAX_TOOL_NAME_SHOWN]
    digest = str(tool.digest) if tool else ""
    try:
        parsed = parse_arguments(request.arguments)
    except ArgumentsError as error:
        refusal = _refusal(world, str(error.code), error.message, error.fix)
        return Prepared(name, digest, b"", refusal=refusal)
    if tool is None:
        fix = "`stockade tools list` shows what there is"
        refusal = _refusal(world, "UNKNOWN_TOOL", f"there is no tool {name!r}", fix)
        return Prepared(name, digest, parsed.canonical, refusal=refusal)
    candidate = Candidate(request.principal, tool, parsed)
    unfit = _unfit(world, candidate)
    if unfit is not None:
        return Prepared(name, digest, parsed.canonical, refusal=unfit)
    return Prepared(name, digest, parsed.canonical, candidate=candidate)


def statement_for(live: LiveCall, now_ms: int, lifetime_ms: int) -> Statement:
    """What the approvers of this call will be shown and sign."""
    return Statement(
        approval_id=str(uuid7()),
        call_id=live.call_id,
        requester_name=live.principal.shown,
        call=live.verdict.of_call,
        risk_milli=live.verdict.risk_milli,
        asked_because=tuple(
            PolicyLine(ref.id, ref.file, ref.line) for ref in live.verdict.policies
        ),
        created_ms=now_ms,
        expires_ms=now_ms + lifetime_ms,
        nonce=secrets.token_hex(16),
        risk=live.verdict.risk.to_json() if live.verdict.risk else None,
    )


def _unfit(world: World, candidate: Candidate) -> Verdict | None:
    try:
        validate(candidate.tool, candidate.parsed)
    except ArgumentsError as error:
        return _refusal(world, str(error.code), error.message, error.fix)
    name = candidate.workspace
    if name and name not in world.workspaces:
        fix = "name one under [workspaces] in config.toml, then restart stockaded"
        return _refusal(world, "UNKNOWN_WORKSPACE", f"there is no workspace {name!r:.80}", fix)
    return None


def _refusal(world: World, code: str, message: str, fix: str) -> Verdict:
    return Verdict(Ruling.DENY, code, message, fix, policy_digest=world.digest)
