"""Whether a lease may be given with an answer: by this person, about this call, so wide.

Trusted that a lease reaches no further than what was signed and what policy lets this person give:
it is about the very call that waits, covers it, ends in time, is enough by this person's word
alone, and is signed by the answering device's key. Raises the daemon's faults.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from daemon.calls.hearing import Asked, Ruling
from daemon.calls.judge import judge, may_grant
from daemon.calls.live import LiveCall
from daemon.calls.settlement import Answer
from daemon.calls.signatures import verifies
from daemon.calls.standing import Standing
from daemon.clock import Clock
from daemon.errors import BadRequest, Conflict, Refused
from daemon.leases.book import name_of
from daemon.leases.meaning import facts_of, permits_of
from daemon.leases.record import CREATED
from daemon.store import leases
from daemon.store.commit import Tx
from daemon.store.ids import ApprovalId, DeviceId, LeaseId
from daemon.store.leases import LeaseRow, LeaseState
from daemon.worlds import Worlds
from policy.contexts import LeaseFacts
from policy.lease import LeaseRefusedError
from stockade.lease import LeaseError, LeaseTerms, lease_bytes, parse_lease

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MAX_LIFETIME_MS = 30 * 24 * 3600 * 1000
AGAIN = "give it again with `stockade approvals approve`"


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease that comes into being with the approval, and what policy said to it."""

    row: LeaseRow
    asked: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Granting:
    """See the module."""

    worlds: Worlds
    clock: Clock

    def check(self, answer: Answer, live: LiveCall) -> Granted | None:
        """The lease that this answer gives, if it gives one."""
        if not answer.lease_terms:
            return None
        if not answer.approve:
            raise bad("a no gives no lease")
        try:
            terms = parse_lease(answer.lease_terms)
        except LeaseError as error:
            raise bad(str(error)) from None
        now = self.clock.now_ms()
        self._check_call(terms, live, now)
        message = lease_bytes(answer.lease_terms)
        if not verifies(answer.principal.certificate, answer.lease_signature, message):
            raise BadRequest(
                "the lease is not signed by this device's key", code="BAD_SIGNATURE", fix=AGAIN
            )
        facts = facts_of(terms, now)
        asked = self._check_policy(answer, live, facts)
        self._check_covers(answer, live, terms, facts)
        row = LeaseRow(
            lease_id=LeaseId(terms.lease_id),
            approval_id=ApprovalId(terms.approval_id),
            principal=terms.principal,
            device_id=DeviceId(live.principal.device_id),
            tool=terms.tool,
            terms=answer.lease_terms,
            signer=DeviceId(answer.principal.device_id),
            signature=answer.lease_signature,
            certificate=answer.principal.certificate,
            state=LeaseState.ACTIVE,
            reason="",
            uses=0,
            max_uses=terms.uses,
            created_ms=now,
            expires_ms=terms.expires_ms,
        )
        return Granted(row, asked)

    def _check_call(self, terms: LeaseTerms, live: LiveCall, now: int) -> None:
        statement = live.shown
        call = statement.call
        wanted = (call.principal, call.tool, call.tool_digest, call.tier, call.secrets)
        given = (terms.principal, terms.tool, terms.tool_digest, terms.tier, terms.secrets)
        if (terms.approval_id, *given) != (statement.approval_id, *wanted):
            raise bad("the lease is not about the call that waits")
        if terms.parent:
            raise bad("it says that it is a part of another lease; those are handed, not given")
        if terms.policy_digest not in ("", call.policy_digest):
            raise bad("the lease is tied to another policy")
        if not UUID7.fullmatch(terms.lease_id):
            raise bad("its id is not a UUIDv7")
        if not now < terms.expires_ms <= now + MAX_LIFETIME_MS:
            raise bad("a lease ends within 30 days from now")

    def _check_policy(self, answer: Answer, live: LiveCall, facts: LeaseFacts) -> dict[str, object]:
        asked: list[Asked] = []
        world = self.worlds.current
        decision = may_grant(
            world,
            live.judged,
            live.verdict,
            self.clock.now(),
            answer.principal,
            facts,
            lambda question, given: asked.append(Asked.of(question, given)),
        )
        if not decision.allowed:
            raise Refused(
                f"policy does not let {answer.principal.device_name} give this lease",
                code="MAY_NOT_LEASE",
                fix="answer once, or ask for less: shorter, fewer uses, the exact call",
            )
        return {
            "questions": [one.to_json() for one in asked],
            "policy_digest": world.digest,
        }

    def _check_covers(
        self, answer: Answer, live: LiveCall, terms: LeaseTerms, facts: LeaseFacts
    ) -> None:
        """It would have permitted this very call, by this person's word alone."""
        world, candidate = self.worlds.current, live.judged
        try:
            permits = permits_of(
                world.subjects(candidate.principal),
                terms,
                world.translations[terms.tool],
                world.bundle.schema,
            )
        except LeaseRefusedError as refused:
            raise BadRequest(
                f"this lease cannot be given: {refused.message}",
                code="LEASE_REFUSED",
                fix=refused.fix,
            ) from None
        standing = Standing(
            terms.lease_id,
            terms.digest(),
            permits,
            facts,
            world.principal_uid(answer.principal),
            world.groups(answer.principal.groups),
        )
        verdict = judge(world, candidate, self.clock.now(), leases=[standing])
        if verdict.ruling is not Ruling.PERMIT or verdict.lease != terms.lease_id:
            raise Conflict(
                "with this lease the call would still have waited: it does not cover it, a policy"
                " forbids it unattended, or one person is not enough",
                code="LEASE_USELESS",
                fix="answer once; `stockade policy show` has the policies",
            )


def storing(granted: Granted | None) -> Callable[[Tx], LeaseRow] | None:
    """What stores a lease, with its receipt, in the transaction that settles its approval."""
    return None if granted is None else partial(store, granted=granted)


def store(tx: Tx, granted: Granted) -> LeaseRow:
    """Stores a lease, with its receipt."""
    row = granted.row
    if not leases.create(tx.connection, row):
        raise Conflict("a lease has this id", code="LEASE_ID_TAKEN", fix=AGAIN)
    terms = parse_lease(row.terms)
    body = {
        "lease": terms.lease_id,
        "terms_digest": terms.digest(),
        "approval": terms.approval_id,
        "for": terms.principal,
        "tool": terms.tool,
        "tool_digest": terms.tool_digest,
        "uses": terms.uses,
        "expires_ms": terms.expires_ms,
        "tied_to": terms.policy_digest,
        "approver": f"device/{row.signer}",
        "signature": row.signature.hex(),
        "certificate": row.certificate.decode("ascii"),
        **({"parent": str(row.parent_id)} if row.parent_id else {}),
        **granted.asked,
    }
    tx.receipt(CREATED, body, principal=name_of(terms.lease_id))
    return row


def bad(message: str) -> BadRequest:
    """For terms that no lease can have."""
    return BadRequest(message, code="LEASE_REFUSED", fix=AGAIN)
