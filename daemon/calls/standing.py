"""A lease as an answer: the permit that it is, and whose standing yes.

Trusted to put a lease to policy each time as if its signers said yes now: any forbid wins, one that
a signer may no longer give was given by nobody, and whether they are enough is asked again.
Pure. Raises nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from policy.contexts import CallFacts, LeaseFacts, call_context, lease_context
from policy.lease import Permit
from policy.pdp import PDP, Decision, Question
from policy.statements import PolicyRef
from policy.values import EntityUid


@dataclass(frozen=True, slots=True)
class Standing:
    """A lease that may stand in for asking."""

    lease_id: str
    terms_digest: str
    # One for each of the case's subjects.
    permits: tuple[Permit, ...]
    facts: LeaseFacts
    # At least one; and every group that one of them is in.
    signers: tuple[EntityUid, ...]
    signer_groups: frozenset[EntityUid]
    # The lease that it was narrowed from, if it was handed on.
    parent: str = ""

    def to_json(self) -> dict[str, Any]:
        """For a receipt: with the signed terms, enough to put it to policy again."""
        return {
            "lease": self.lease_id,
            "terms_digest": self.terms_digest,
            "seconds": self.facts.seconds,
            "signer": self.signers[0].id,
            **({"cosigners": others} if (others := [one.id for one in self.signers[1:]]) else {}),
            **({"parent": self.parent} if self.parent else {}),
        }


@dataclass(frozen=True, slots=True)
class Asker:
    """Puts the questions about leases of one call."""

    pdp: PDP
    subjects: tuple[EntityUid, ...]
    tool: EntityUid
    note: Callable[[Question, Decision], None]

    def permits(self, facts: CallFacts, arguments_digest: str, lease: Standing) -> Decision | None:
        """The yes to "unattended?" with the lease's permits; None for a no."""
        told = replace(facts, lease=lease.lease_id, arguments_digest=arguments_digest)
        context, reasons = call_context(told), tuple[PolicyRef, ...]()
        for subject, permit in zip(self.subjects, lease.permits, strict=True):
            question = Question(subject, "call_unattended", self.tool, context)
            decision = self.pdp.decide_with(question, permit)
            self.note(question, decision)
            # Its own permit must be among those that say yes: a policy that lets calls with a lease
            # run (`context has lease`) does not make it a lease for this call.
            if not decision.allowed or permit.ref not in decision.reasons:
                return None
            reasons += tuple(ref for ref in decision.reasons if ref not in reasons)
        return replace(decision, reasons=reasons)

    def may_grant(self, facts: CallFacts, approver: EntityUid, lease: LeaseFacts) -> Decision:
        """Whether this person's yes counts for calls to come, as far as this lease goes."""
        *agent, device = self.subjects
        context = lease_context(facts, lease, device, *agent)
        question = Question(approver, "grant_lease", self.tool, context)
        decision = self.pdp.decide(question)
        self.note(question, decision)
        return decision
