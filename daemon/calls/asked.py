"""Questions to policy and their answers, as receipts have them.

Trusted to name what determined an answer, and to leave no answer too long for a receipt: of
thousands of policies that said the same the first are named, in the order of the set, and it is
said how many there were. Pure; raises nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from policy.pdp import Decision, Question
from policy.statements import PolicyRef

MAX_NAMED = 64
"""So many policies are named for one answer, and so many errors."""

Witness = Callable[[Question, Decision], None]
"""Told of every question as it is answered."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and its answer."""

    action: str
    principal: str
    resource: str
    allowed: bool
    code: str
    policies: tuple[PolicyRef, ...]
    errors: tuple[str, ...] = ()

    @classmethod
    def of(cls, question: Question, decision: Decision) -> "Asked":
        """What is kept of it."""
        return cls(
            action=question.action,
            principal=str(question.principal),
            resource=str(question.resource),
            allowed=decision.allowed,
            code=decision.code.value,
            policies=decision.reasons,
            errors=decision.errors,
        )

    def to_json(self) -> dict[str, Any]:
        """For a receipt."""
        return {
            "action": self.action,
            "principal": self.principal,
            "resource": self.resource,
            "allowed": self.allowed,
            "code": self.code,
            **_first("policies", [f"{ref.id} ({ref.file}:{ref.line})" for ref in self.policies]),
            **(_first("errors", self.errors) if self.errors else {}),
        }


def ruled(policy_digest: str, asked: Iterable[Asked]) -> dict[str, object]:
    """Questions and answers, and the policies, schema and data they were answered by."""
    return {"questions": [one.to_json() for one in asked], "policy_digest": policy_digest}


def named(those: Sequence[T]) -> Sequence[T]:
    """The first of them, as many as are named."""
    return those[:MAX_NAMED]


def _first(name: str, texts: Sequence[str]) -> dict[str, Any]:
    number = {f"{name}_in_all": len(texts)} if len(texts) > MAX_NAMED else {}
    return {name: list(named(texts)), **number}
