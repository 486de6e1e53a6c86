"""What an answer makes of its approval and its call, inside one transaction.

Trusted with promise 3: the answer is recorded, policy is asked again about the very call with every
yes there is, and approval and call move together, or nothing does. A yes counts if the key of a
device that is paired now signed it over this very statement, and policy let that device give it, as
a receipt says or policy says now: what the database says of it is not enough. An approval whose
call is no longer exactly what was approved is void. Raises `Conflict`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from daemon.calls import records
from daemon.calls.hearing import Ruling
from daemon.calls.judge import Verdict, judge, may_approve
from daemon.calls.live import LiveCall
from daemon.calls.signatures import Signatures
from daemon.clock import Clock
from daemon.errors import Conflict
from daemon.evidence import attested
from daemon.identity.devices import Devices
from daemon.lifecycle import Event, State, next_state
from daemon.principal import Principal
from daemon.store import approvals, devices, receipts
from daemon.store.approvals import Answered, AnswerRow, ApprovalRow, ApprovalState
from daemon.store.commit import Tx
from daemon.store.devices import DeviceStatus
from daemon.store.ids import CallId, DeviceId, PolicyDigest
from daemon.store.leases import LeaseRow
from daemon.worlds import Worlds
from ledger.chain import Entry
from ledger.keys import Keys
from stockade.statement import answer_bytes

APPROVE, REJECT = "approve", "reject"
ANSWERED = "approval.answered"
WATCH = "`stockade approvals list` shows what waits"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said, as it arrived."""

    approval_id: str
    approve: bool
    reason: str
    signature: bytes
    principal: Principal
    # Where the yes is to stand for calls to come: what was signed of that.
    lease_terms: bytes = b""
    lease_signature: bytes = b""

    @property
    def word(self) -> str:
        """As it is stored."""
        return APPROVE if self.approve else REJECT


@dataclass(frozen=True, slots=True)
class Yes:
    """One that counts, and how it is stored."""

    approver: Principal
    given: AnswerRow


class Giving(Protocol):
    """What becomes of the lease that was signed with a yes, inside that yes's transaction."""

    def __call__(self, tx: Tx, yeses: Sequence[Yes], *, settled: bool) -> LeaseRow | None:
        """The lease, if it stands from now on; `Conflict` undoes the yes with it."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an answer changed."""

    entry: Entry
    # The call's new state, verdict and receipt; None while more people are needed.
    state: State | None = None
    verdict: Verdict | None = None
    call_entry: Entry | None = None
    lease: LeaseRow | None = None

    def apply(self, live: LiveCall) -> None:
        """Tells the waiting call, once it is durable."""
        if self.state and self.verdict and self.call_entry and not live.settled.is_set():
            records.was_kept(self.verdict)
            live.settle(self.state, self.verdict, self.call_entry)


@dataclass(frozen=True, slots=True)
class Settling:
    """See the module."""

    worlds: Worlds
    devices: Devices
    clock: Clock
    signatures: Signatures
    keys: Keys

    def end(self, tx: Tx, row: ApprovalRow, live: LiveCall, verdict: Verdict) -> Settlement:
        """Ends a call that cannot be answered any more, whatever the answer was."""
        state, event, now = ApprovalState.WITHDRAWN, Event.DENY, self.clock.now_ms()
        return _close(tx, row, live, None, state, event, verdict, now)

    def settle(
        self,
        tx: Tx,
        answer: Answer,
        row: ApprovalRow,
        live: LiveCall,
        asked: Mapping[str, object],
        lease: Giving | None = None,
    ) -> Settlement:
        """Records an answer, and what comes of it; `asked` is how policy let it be given.

        `lease` is what becomes of the lease that was signed with it.
        """
        now = self.clock.now_ms()
        recorded = approvals.answer(
            tx.connection,
            AnswerRow(
                approval_id=row.approval_id,
                device_id=DeviceId(answer.principal.device_id),
                answer=answer.word,
                signature=answer.signature,
                certificate=answer.principal.certificate,
                reason=answer.reason,
                time_ms=now,
                lease_signature=answer.lease_signature if answer.lease_terms else None,
                lease_terms=answer.lease_terms or None,
            ),
        )
        if recorded is Answered.TWICE:
            raise Conflict("this device has answered already", code="ALREADY_ANSWERED", fix=WATCH)
        if recorded is Answered.NOT_PENDING:
            raise not_pending(None)
        entry = _answered(tx, answer, row, live, asked)
        if not answer.approve:
            return self._reject(tx, answer, row, live, entry, now)
        yeses = list(self._yeses(tx, row, live, answer.principal.device_id))
        weighed = self._weigh(tx, row, live, entry, now, yeses)
        if lease is None or weighed.state not in (None, State.PERMITTED):
            return weighed
        settled = weighed.state is State.PERMITTED
        return replace(weighed, lease=lease(tx, yeses, settled=settled))

    @staticmethod
    def _reject(
        tx: Tx, answer: Answer, row: ApprovalRow, live: LiveCall, entry: Entry, now: int
    ) -> Settlement:
        said = f": {answer.reason}" if answer.reason else ""
        verdict = replace(
            live.verdict,
            code="REJECTED",
            message=f"{answer.principal.device_name} rejected it{said}",
            fix="",
        )
        return _close(tx, row, live, entry, ApprovalState.REJECTED, Event.REJECT, verdict, now)

    def _weigh(
        self,
        tx: Tx,
        row: ApprovalRow,
        live: LiveCall,
        entry: Entry,
        now: int,
        yeses: Sequence[Yes],
    ) -> Settlement:
        """Asks policy again, now, with every yes there is."""
        if replaced(self.worlds, live):
            verdict = void(live.verdict)
        else:
            approvers = [yes.approver for yes in yeses]
            verdict = judge(self.worlds.current, live.judged, self.clock.now(), approvers=approvers)
        if verdict.ruling is Ruling.ASK:
            return Settlement(entry)
        if verdict.ruling is Ruling.PERMIT and verdict.exact != live.verdict.exact:
            verdict = void(verdict)
        if verdict.ruling is Ruling.DENY:
            state, event = ApprovalState.WITHDRAWN, Event.DENY
            return _close(tx, row, live, entry, state, event, verdict, now)
        state, event = ApprovalState.APPROVED, Event.PERMIT
        return _close(tx, row, live, entry, state, event, verdict, now)

    def _yeses(self, tx: Tx, row: ApprovalRow, live: LiveCall, now_by: str) -> Iterator[Yes]:
        """Whose yes it has; `now_by` answers now, which policy has just allowed."""
        recorded: frozenset[tuple[str, str]] | None = None
        for given in approvals.answers(tx.connection, row.approval_id):
            if given.answer != APPROVE or not _has_voice(tx, given.device_id):
                continue
            message = answer_bytes(row.statement, approve=True, reason=given.reason)
            device = str(given.device_id)
            # Not by the database's word alone: whoever can write to it could make a quorum.
            if not self.signatures.by_device(device, given.certificate, given.signature, message):
                continue
            approver = self.devices.as_principal(device, "")
            if approver is None or str(approver) == str(live.principal):
                continue
            if device != now_by:
                # Nor by a key's alone: it may be one that may not approve, such as the caller's.
                recorded = self._recorded(tx, row) if recorded is None else recorded
                if (device, given.signature.hex()) not in recorded and not self._may(
                    live, approver
                ):
                    continue
            yield Yes(approver, given)

    def _recorded(self, tx: Tx, row: ApprovalRow) -> frozenset[tuple[str, str]]:
        """The answers that the ledger has; those of a moment ago may not be in it yet."""
        found = receipts.by_call(tx.connection, self.keys.chain, row.call_id)
        bodies = (attested(o.entry, self.keys) for o in found if o.entry.kind == ANSWERED)
        return frozenset(
            (str(body["approver"]).removeprefix("device/"), str(body["signature"]))
            for body in bodies
            if body is not None and body["approval"] == str(row.approval_id)
        )

    def _may(self, live: LiveCall, approver: Principal) -> bool:
        world, now, asked_ms = self.worlds.current, self.clock.now(), live.shown.created_ms
        return may_approve(world, live.judged, live.verdict, now, approver, asked_ms).allowed


def replaced(worlds: Worlds, live: LiveCall) -> bool:
    """Whether the call's tool is gone or another: policy cannot be asked about it then."""
    shown = live.shown.call
    tool = worlds.current.registry.get(shown.tool)
    return tool is None or tool.digest != shown.tool_digest


def damaged(row: ApprovalRow, live: LiveCall) -> bool:
    """Whether the stored approval is not the one that was asked for: people see what is stored."""
    statement = live.shown
    asked = (statement.call_id, statement.call.policy_digest, statement.expires_ms)
    return (
        row.statement != statement.encode()
        or (str(row.call_id), str(row.policy_digest), row.expires_ms) != asked
    )


def void(verdict: Verdict) -> Verdict:
    """For a call that is another one now."""
    return replace(
        verdict,
        ruling=Ruling.DENY,
        code="APPROVAL_VOID",
        message="the call is no longer what was shown: its tool, tier or the policy has changed",
        fix="ask again",
    )


def tampered(verdict: Verdict) -> Verdict:
    """For a call whose approval was changed in the database."""
    return replace(
        verdict,
        ruling=Ruling.DENY,
        code="APPROVAL_DAMAGED",
        message="what the database holds of its approval is not what was asked",
        fix="find out who wrote to the database; `stockade ledger verify`",
    )


def not_pending(state: ApprovalState | None) -> Conflict:
    """It was settled before."""
    how = f"it is {state}" if state is not None else "it was settled just now"
    return Conflict(
        f"this approval does not wait for an answer: {how}", code="APPROVAL_NOT_PENDING", fix=WATCH
    )


def _answered(
    tx: Tx, answer: Answer, row: ApprovalRow, live: LiveCall, asked: Mapping[str, object]
) -> Entry:
    body = {
        "call": live.call_id,
        "approval": answer.approval_id,
        "answer": answer.word,
        "approver": str(answer.principal),
        "reason": answer.reason,
        "statement_digest": hashlib.sha256(row.statement).hexdigest(),
        "signature": answer.signature.hex(),
        "certificate": answer.principal.certificate.decode("ascii"),
        **asked,
    }
    return tx.receipt(
        ANSWERED,
        body,
        call_id=CallId(live.call_id),
        principal=str(answer.principal),
    )


def _close(
    tx: Tx,
    row: ApprovalRow,
    live: LiveCall,
    entry: Entry | None,
    state: ApprovalState,
    event: Event,
    verdict: Verdict,
    now: int,
) -> Settlement:
    settled = approvals.settle(tx.connection, row.approval_id, state, now_ms=now)
    if settled and state is ApprovalState.APPROVED:
        # Used in the same breath: there is no approved-and-waiting for anybody to find.
        settled = approvals.use(
            tx.connection,
            row.approval_id,
            call_id=row.call_id,
            policy_digest=PolicyDigest(verdict.policy_digest),
            now_ms=now,
        )
    if not settled:
        raise not_pending(None)
    records.keep_told(tx, verdict, now)
    body = {"approval": str(row.approval_id), **records.verdict_body(verdict, live.contents)}
    origin = State.PENDING_APPROVAL
    moved = records.move(tx, live, event, verdict.code, now, body, from_state=origin)
    if moved is None:
        raise not_pending(None)
    return Settlement(entry or moved, next_state(origin, event), verdict, moved)


def _has_voice(tx: Tx, device_id: DeviceId) -> bool:
    """Whether the device is still paired, by the database: memory learns of it a moment later."""
    found = devices.get(tx.connection, device_id)
    return found is not None and found.status is DeviceStatus.ACTIVE
