"""Policies that would have answered what people have said yes to again and again.

Trusted to count only yeses that signed receipts bear out, to suggest nothing wider than the very
call they were said to, and to have tried each suggestion: without it the call is asked about, with
it the call is permitted, by it. Applies nothing. Raises the store's faults.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio.to_thread
from sqlalchemy import Connection

from daemon.calls.hearing import Ruling
from daemon.calls.judge import Candidate, judge
from daemon.clock import Clock
from daemon.errors import BadRequest
from daemon.evidence import attested
from daemon.identity.devices import Devices
from daemon.policy.policies import Policies
from daemon.store import approvals, calls, receipts
from daemon.store.approvals import ApprovalRow
from daemon.store.reader import Reader
from daemon.tools.arguments import ParsedArguments, parse_arguments, validate
from daemon.tools.errors import ToolError
from daemon.world import World, secret_uid
from daemon.worlds import Worlds
from ledger.keys import Keys
from policy.arguments import to_context
from policy.errors import PolicyError, Problem
from policy.suggestion import ExactScope, SuggestionRefusedError, names_of, suggested
from stockade.canonical import canonical
from stockade.statement import ExactCall, Statement, StatementError, parse_statement

LEAST = 3
# The newest of them are looked at; a longer call is none that anybody wants to read in a policy.
MAX_READ, MAX_BYTES = 1000, 16 * 1024
MOST, MOST_NAMED = 20, 20
FILE = "approved.cedar"


@dataclass(slots=True)
class Approved:
    """One exact call, and the yeses it had."""

    call: ExactCall
    device_id: str
    # Newest first.
    call_ids: list[str]
    times: list[int]
    approvers: set[str]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A policy, and what it would have answered."""

    id: str
    text: str = field(repr=False)
    approved: Approved = field(repr=False)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Suggested:
    """All that is suggested now."""

    suggestions: tuple[Suggestion, ...]
    policy_digest: str
    # Approved as often, and why there is no suggestion.
    passed: Mapping[str, int]


class _PassedError(Exception):
    """Why there is none; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """See the module."""

    worlds: Worlds
    policies: Policies
    devices: Devices
    reader: Reader
    clock: Clock
    keys: Keys

    async def find(self, least: int) -> Suggested:
        """What is suggested for calls that were approved at least so often."""
        world = self.worlds.current
        groups = await self.reader.read(lambda c: self._approved(c, least))
        passed = Counter[str]()
        found: list[Suggestion] = []
        for approved in groups:
            try:
                found.append(await self._suggestion(world, approved))
            except _PassedError as why:
                passed[str(why)] += 1
            if len(found) == MOST:
                break
        return Suggested(tuple(found), world.digest, passed)

    def _approved(self, connection: Connection, least: int) -> list[Approved]:
        """The calls approved at least so often, the most often first."""
        rows = approvals.used(connection, limit=MAX_READ, max_bytes=MAX_BYTES)
        groups: dict[bytes, list[tuple[ApprovalRow, Statement]]] = {}
        for row in rows:
            try:
                statement = parse_statement(row.statement)
            except StatementError:
                continue
            groups.setdefault(_key(statement.call), []).append((row, statement))
        found = []
        for asked in groups.values():
            if len(asked) >= least:
                approved = self._borne_out(connection, asked)
                if approved is not None and len(approved.call_ids) >= least:
                    found.append(approved)
        found.sort(key=lambda one: (-len(one.call_ids), -one.times[0]))
        return found

    def _borne_out(
        self, connection: Connection, asked: Sequence[tuple[ApprovalRow, Statement]]
    ) -> Approved | None:
        """Those of which the ledger says that people permitted them."""
        found: Approved | None = None
        for row, statement in asked:
            by = self._permitted_by(connection, row, statement)
            call = calls.get(connection, row.call_id)
            if by is None or call is None or call.principal != statement.call.principal:
                continue
            if found is None:
                found = Approved(statement.call, str(call.device_id), [], [], set())
            found.call_ids.append(str(row.call_id))
            found.times.append(row.created_ms)
            found.approvers |= by
        return found

    def _permitted_by(
        self, connection: Connection, row: ApprovalRow, statement: Statement
    ) -> set[str] | None:
        """The devices whose yes it had, by its receipt."""
        for one in receipts.by_call(connection, self.keys.chain, row.call_id):
            if one.entry.kind != "call.permitted":
                continue
            body = attested(one.entry, self.keys) or {}
            told = (body.get("approval"), body.get("reason"), body.get("call_digest"))
            if told == (str(row.approval_id), "APPROVED", statement.call.digest()):
                return set(map(str, body["heard"]["approvers"]))
        return None

    async def _suggestion(self, world: World, approved: Approved) -> Suggestion:
        candidate = self._candidate(world, approved)
        now = self.clock.now()
        _require_asked(world, candidate, now)
        scope = _scope(world, approved.call, candidate)
        translation = world.translations[candidate.tool.name]
        try:
            text = suggested(scope, translation, world.bundle.schema)
        except SuggestionRefusedError as refused:
            raise _PassedError(refused.message) from None
        names = set(names_of(scope))
        if names & {ref.id for ref in world.bundle.policies}:
            raise _PassedError("its policy is there already, and is not enough")
        files = with_suggestion(world.bundle.files, text)
        try:
            supposed = await self.policies.supposed(files)
        except BadRequest as refused:
            raise _PassedError(f"the set would not be valid with it: {refused.message}") from None
        verdict = await anyio.to_thread.run_sync(judge, supposed, candidate, now)
        by = {ref.id for ref in verdict.policies}
        if verdict.ruling is not Ruling.PERMIT or not names & by:
            raise _PassedError("a policy forbids that it runs unattended")
        problems, _ = await self.policies.check(files)
        its_own = tuple(one for one in problems if one.file == FILE)
        return Suggestion(scope.name, text, approved, its_own)

    def _candidate(self, world: World, approved: Approved) -> Candidate:
        call = approved.call
        principal = self.devices.of_call(call.principal, approved.device_id, "")
        if principal is None:
            raise _PassedError("who called is gone")
        tool = world.registry.get(call.tool)
        if tool is None or tool.digest != call.tool_digest:
            raise _PassedError("the tool is gone, or another by now")
        try:
            parsed: ParsedArguments = parse_arguments(canonical(dict(call.arguments)))
            validate(tool, parsed)
        except ToolError:
            raise _PassedError("the tool takes other arguments now") from None
        return Candidate(principal, tool, parsed)


def with_suggestion(files: Mapping[str, str], text: str) -> dict[str, str]:
    """The policy files with a suggestion added."""
    before = files.get(FILE, "")
    return {**files, FILE: f"{before.rstrip()}\n\n{text}" if before.strip() else text}


def _require_asked(world: World, candidate: Candidate, now: datetime) -> None:
    ruling = judge(world, candidate, now).ruling
    if ruling is Ruling.PERMIT:
        raise _PassedError("policy permits it unattended already")
    if ruling is Ruling.DENY:
        raise _PassedError("policy denies it by now")


def _scope(world: World, call: ExactCall, candidate: Candidate) -> ExactScope:
    try:
        arguments = to_context(call.tool, world.translations[call.tool], candidate.arguments)
    except PolicyError:
        raise _PassedError("policy cannot be told its arguments") from None
    return ExactScope(
        name=f"approved-{call.tool}-{hashlib.sha256(_key(call)).hexdigest()[:12]}",
        subjects=world.subjects(candidate.principal),
        tool=call.tool,
        tool_digest=call.tool_digest,
        tier=call.tier,
        secrets=tuple(secret_uid(name) for name in call.secrets),
        arguments=arguments,
    )


def _key(call: ExactCall) -> bytes:
    """What makes two approved calls the same: all but the policies they were asked under."""
    return bytes.fromhex(replace(call, policy_digest="").digest())
