"""A person's answer to an approval: checked, counted, and what it makes of the call, in one step.

Trusted with promise 3. The signature must be by the key of the answering connection's certificate,
over the statement as it is stored; the requester's own word never counts; whether this person's
does is policy's question. Then, inside one transaction, the answer is recorded, policy is asked
again about the very call with all the yeses so far, and approval and call move together, or neither
does. An approval whose call is no longer exactly what was approved is void.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from daemon.calls import records
from daemon.calls.engine import Calls
from daemon.calls.hearing import Asked, Ruling
from daemon.calls.judge import Candidate, Verdict, judge, may_approve
from daemon.calls.live import LiveCall
from daemon.clock import Clock
from daemon.devices import Devices
from daemon.errors import BadRequest, Conflict, NotFound, Refused
from daemon.lifecycle import Event, State, next_state
from daemon.principal import Principal
from daemon.store import approvals, devices
from daemon.store.approvals import Answered, AnswerRow, ApprovalRow, ApprovalState
from daemon.store.commit import Tx
from daemon.store.devices import DeviceStatus
from daemon.store.ids import ApprovalId, CallId, DeviceId, PolicyDigest
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.worlds import Worlds
from ledger.chain import Entry
from stockade.statement import answer_bytes

MAX_REASON_CHARACTERS = 500
APPROVE, REJECT = "approve", "reject"

WATCH = "`stockade approvals list` shows what waits"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said, as it arrived."""

    approval_id: str
    approve: bool
    reason: str
    signature: bytes
    principal: Principal


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an answer changed."""

    entry: Entry
    # The call's new state, verdict and receipt; None while more people are needed.
    state: State | None = None
    verdict: Verdict | None = None
    call_entry: Entry | None = None


class Answers:
    """See the module."""

    def __init__(
        self,
        *,
        calls: Calls,
        worlds: Worlds,
        devices: Devices,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        changed: Callable[[str], None],
        until_examined: Callable[[], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._worlds = worlds
        self._devices = devices
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._changed = changed
        self._until_examined = until_examined

    async def give(self, answer: Answer) -> Entry:
        """Records an answer; the receipt of it."""
        if answer.principal.name.kind != "device":
            raise Refused(
                "an agent answers for no call",
                code="AGENT_CANNOT_APPROVE",
                fix="a person has to answer, on a paired device",
            )
        if len(answer.reason) > MAX_REASON_CHARACTERS:
            raise BadRequest(
                f"a reason has at most {MAX_REASON_CHARACTERS} characters",
                code="REASON_TOO_LONG",
                fix="say it shorter",
            )
        await self._until_examined()  # else an approval just after a start would find no tier
        row = await self._reader.read(
            lambda connection: approvals.get(connection, ApprovalId(answer.approval_id))
        )
        live = self._calls.find(str(row.call_id)) if row is not None else None
        if row is None:
            raise unknown_approval()
        if row.state is not ApprovalState.PENDING or live is None or live.statement is None:
            raise _not_pending(row.state)
        self._check_signature(answer, row, live)
        replaced = self._replaced(live)
        asked = None if replaced else self._check_permission(answer, live)
        # The future's callback runs whatever becomes of this RPC: what was recorded is applied.
        future = self._writer.submit(
            lambda tx: (
                self._end(tx, row, live)
                if asked is None
                else self._settle(tx, answer, row, live, asked)
            )
        )
        future.add_done_callback(lambda done: self._apply(live, answer.approval_id, done))
        return (await asyncio.shield(future)).entry

    def _replaced(self, live: LiveCall) -> bool:
        """Whether the call's tool is gone or another: policy cannot be asked about it then."""
        assert live.statement is not None  # noqa: S101 - it waits
        shown = live.statement.call
        tool = self._worlds.current.registry.get(shown.tool)
        return tool is None or tool.digest != shown.tool_digest

    @staticmethod
    def _check_signature(answer: Answer, row: ApprovalRow, live: LiveCall) -> None:
        # A device may answer for its agent, if policy lets it: the agent asked, not the device.
        if str(answer.principal) == str(live.principal):
            raise Refused(
                "the requester cannot answer for its own call",
                code="SELF_APPROVAL",
                fix="another paired device has to answer",
            )
        message = answer_bytes(row.statement, approve=answer.approve, reason=answer.reason)
        if not _verifies(answer.principal.certificate, answer.signature, message):
            raise BadRequest(
                "the signature is not by this device's key over this approval and answer",
                code="BAD_SIGNATURE",
                fix="answer with `stockade approvals`; if it is up to date, pair the device again",
            )

    def _check_permission(self, answer: Answer, live: LiveCall) -> dict[str, object]:
        """Policy's yes to this answer, as its receipt has it."""
        world, asked = self._worlds.current, list[Asked]()
        decision = may_approve(
            world,
            _candidate(live),
            live.verdict,
            self._clock.now(),
            answer.principal,
            lambda question, given: asked.append(Asked.of(question, given)),
        )
        if not decision.allowed:
            raise Refused(
                f"policy does not let {answer.principal.device_name} answer for this call",
                code="MAY_NOT_APPROVE",
                fix="an owner can change the device's groups or the policy",
            )
        questions = [one.to_json() for one in asked]
        return {"questions": questions, "policy_digest": world.digest}

    def _end(self, tx: Tx, row: ApprovalRow, live: LiveCall) -> Settlement:
        """Ends a call whose tool is no longer what was shown; no answer to it counts."""
        state, event, verdict = ApprovalState.WITHDRAWN, Event.DENY, _void(live.verdict)
        return self._close(tx, row, live, None, state, event, verdict, self._clock.now_ms())

    def _settle(
        self,
        tx: Tx,
        answer: Answer,
        row: ApprovalRow,
        live: LiveCall,
        asked: Mapping[str, object],
    ) -> Settlement:
        now = self._clock.now_ms()
        recorded = approvals.answer(
            tx.connection,
            AnswerRow(
                approval_id=row.approval_id,
                device_id=DeviceId(answer.principal.device_id),
                answer=APPROVE if answer.approve else REJECT,
                signature=answer.signature,
                certificate=answer.principal.certificate,
                reason=answer.reason,
                time_ms=now,
            ),
        )
        if recorded is Answered.TWICE:
            raise Conflict("this device has answered already", code="ALREADY_ANSWERED", fix=WATCH)
        if recorded is Answered.NOT_PENDING:
            raise _not_pending(None)
        entry = self._answered(tx, answer, row, live, asked)
        if not answer.approve:
            return self._reject(tx, answer, row, live, entry, now)
        return self._weigh(tx, row, live, entry, now)

    @staticmethod
    def _answered(
        tx: Tx, answer: Answer, row: ApprovalRow, live: LiveCall, asked: Mapping[str, object]
    ) -> Entry:
        body = {
            "call": live.call_id,
            "approval": answer.approval_id,
            "answer": APPROVE if answer.approve else REJECT,
            "approver": str(answer.principal),
            "reason": answer.reason,
            "statement_digest": hashlib.sha256(row.statement).hexdigest(),
            "signature": answer.signature.hex(),
            "certificate": answer.principal.certificate.decode("ascii"),
            **asked,
        }
        return tx.receipt(
            "approval.answered",
            body,
            call_id=CallId(live.call_id),
            principal=str(answer.principal),
        )

    def _reject(
        self, tx: Tx, answer: Answer, row: ApprovalRow, live: LiveCall, entry: Entry, now: int
    ) -> Settlement:
        said = f": {answer.reason}" if answer.reason else ""
        verdict = replace(
            live.verdict,
            code="REJECTED",
            message=f"{answer.principal.device_name} rejected it{said}",
            fix="",
        )
        return self._close(tx, row, live, entry, ApprovalState.REJECTED, Event.REJECT, verdict, now)

    def _weigh(
        self, tx: Tx, row: ApprovalRow, live: LiveCall, entry: Entry, now: int
    ) -> Settlement:
        """Asks policy again, now, with every yes there is."""
        yeses = [
            self._devices.as_principal(str(given.device_id), "")
            for given in approvals.answers(tx.connection, row.approval_id)
            if given.answer == APPROVE and _has_voice(tx, given.device_id)
        ]
        approvers = [approver for approver in yeses if approver is not None]
        if self._replaced(live):
            verdict = _void(live.verdict)
        else:
            world = self._worlds.current
            verdict = judge(world, _candidate(live), self._clock.now(), approvers)
        if verdict.ruling is Ruling.ASK:
            return Settlement(entry)
        if verdict.ruling is Ruling.PERMIT and verdict.exact != live.verdict.exact:
            verdict = _void(verdict)
        if verdict.ruling is Ruling.DENY:
            state, event = ApprovalState.WITHDRAWN, Event.DENY
            return self._close(tx, row, live, entry, state, event, verdict, now)
        state, event = ApprovalState.APPROVED, Event.PERMIT
        return self._close(tx, row, live, entry, state, event, verdict, now)

    @staticmethod
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
            raise _not_pending(None)
        records.keep_told(tx, verdict, now)
        body = {"approval": str(row.approval_id), **records.verdict_body(verdict)}
        origin = State.PENDING_APPROVAL
        moved = records.move(tx, live, event, verdict.code, now, body, from_state=origin)
        if moved is None:
            raise _not_pending(None)
        return Settlement(entry or moved, next_state(origin, event), verdict, moved)

    def _apply(self, live: LiveCall, approval_id: str, done: "asyncio.Future[Settlement]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        result = done.result()
        if result.state and result.verdict and result.call_entry:
            records.was_kept(result.verdict)
            self._calls.settle(live.call_id, result.state, result.verdict, result.call_entry)
        self._changed(approval_id)


def unknown_approval() -> NotFound:
    """The one answer for what does not exist and for what may not be seen."""
    return NotFound("there is no such approval", code="UNKNOWN_APPROVAL", fix=WATCH)


def _has_voice(tx: Tx, device_id: DeviceId) -> bool:
    """Whether the device is still paired, by the database: memory learns of it a moment later."""
    found = devices.get(tx.connection, device_id)
    return found is not None and found.status is DeviceStatus.ACTIVE


def _candidate(live: LiveCall) -> Candidate:
    assert live.candidate is not None  # noqa: S101 - only a judged call waits
    return live.candidate


def _verifies(certificate: bytes, signature: bytes, message: bytes) -> bool:
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _void(verdict: Verdict) -> Verdict:
    return replace(
        verdict,
        ruling=Ruling.DENY,
        code="APPROVAL_VOID",
        message="the call is no longer what was shown: its tool, tier or the policy has changed",
        fix="ask again",
    )


def _not_pending(state: ApprovalState | None) -> Conflict:
    how = f"it is {state}" if state is not None else "it was settled just now"
    return Conflict(
        f"this approval does not wait for an answer: {how}", code="APPROVAL_NOT_PENDING", fix=WATCH
    )
