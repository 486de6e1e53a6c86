"""Whether a lease may be signed with an answer: by this person, about this call, so wide.

Trusted that a lease reaches no further than what was signed and what policy lets this person give:
it is about the very call that waits, covers it, ends in time, and is signed by the answering
device's key. Whether it stands then, or others have to sign it first, `daemon.leases.signed` says.
Raises the daemon's faults.
"""

import re
from dataclasses import dataclass

from daemon.calls.asked import Asked, ruled
from daemon.calls.judge import may_grant, may_stand
from daemon.calls.live import LiveCall
from daemon.calls.settlement import Answer, Giving
from daemon.calls.signatures import Signatures, verifies
from daemon.calls.standing import Standing
from daemon.clock import Clock
from daemon.errors import BadRequest, RefusedByPolicy
from daemon.leases.meaning import facts_of, permits_of
from daemon.leases.signed import AGAIN, Signed, useless
from daemon.worlds import Worlds
from policy.contexts import LeaseFacts
from policy.lease import LeaseRefusedError
from stockade.lease import LeaseError, LeaseTerms, lease_bytes, parse_lease

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MAX_LIFETIME_MS = 30 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Granting:
    """See the module."""

    worlds: Worlds
    clock: Clock
    signatures: Signatures

    def check(self, answer: Answer, live: LiveCall) -> Giving | None:
        """What becomes of the lease that this answer has with it; None if it has none."""
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
        standing = self._check_covers(answer, live, terms, facts)
        return Signed(
            self.worlds, self.clock, self.signatures, answer, live, terms, standing, asked
        )

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

    def _check_policy(self, answer: Answer, live: LiveCall, facts: LeaseFacts) -> list[Asked]:
        world, asked = self.worlds.current, list[Asked]()
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
            raise RefusedByPolicy(
                f"policy does not let {answer.principal.device_name} give this lease",
                ruled=ruled(world.digest, asked),
                code="MAY_NOT_LEASE",
                fix="answer once, or ask for less: shorter, fewer uses, the exact call",
            )
        return asked

    def _check_covers(
        self, answer: Answer, live: LiveCall, terms: LeaseTerms, facts: LeaseFacts
    ) -> Standing:
        """The lease as this person alone would have given it; it covers this very call."""
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
            (world.principal_uid(answer.principal),),
            world.groups(answer.principal.groups),
        )
        if not may_stand(world, candidate, live.verdict, self.clock.now(), standing):
            raise useless("it does not cover it, or a policy forbids it unattended")
        return standing


def bad(message: str) -> BadRequest:
    """For terms that no lease can have."""
    return BadRequest(message, code="LEASE_REFUSED", fix=AGAIN)
