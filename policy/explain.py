"""A decision in words: lines for a person, a dict for a program.

Trusted to show no argument's value: those may hold what must not be logged. Everything printed is
an id, a place or the engine's own text, with control characters escaped. Pure; raises nothing.
"""

from policy.pdp import Decision, Question, ReasonCode
from policy.statements import PolicyRef

_MEANING = {
    ReasonCode.PERMITTED: "permitted by",
    ReasonCode.FORBIDDEN: "forbidden by",
    ReasonCode.NOT_PERMITTED: "no policy permits it",
    ReasonCode.EVALUATION_ERROR: "a policy could not be evaluated, so the answer is no",
    ReasonCode.BAD_REQUEST: "the question does not fit the schema",
    ReasonCode.UNKNOWN_PRINCIPAL: "the principal does not exist",
    ReasonCode.UNKNOWN_RESOURCE: "the resource does not exist",
    ReasonCode.UNKNOWN_ENTITY: "something the question refers to does not exist",
    ReasonCode.ENGINE_ERROR: "the policy engine failed, so the answer is no",
}


def to_json(question: Question, decision: Decision) -> dict[str, object]:
    """For `--json` and receipts: no floats, no argument values."""
    return {
        "principal": str(question.principal),
        "action": question.action,
        "resource": str(question.resource),
        "allowed": decision.allowed,
        "code": decision.code.value,
        "policies": [
            {"id": ref.id, "file": ref.file, "line": ref.line} for ref in decision.reasons
        ],
        "errors": list(decision.errors),
        "bundle": decision.bundle_digest,
    }


def to_lines(question: Question, decision: Decision) -> list[str]:
    """For a terminal: the question, the answer, then one line per policy and error."""
    answer = "yes" if decision.allowed else "no"
    lines = [
        f"may {question.principal} {question.action} {question.resource}?",
        f"{answer}: {_MEANING[decision.code]} ({decision.code.value})",
        *(f"  {_policy(ref)}" for ref in decision.reasons),
        *(f"  error: {text}" for text in decision.errors),
    ]
    return [_printable(line) for line in lines]


def _policy(ref: PolicyRef) -> str:
    return f"{ref.id}  {ref.file}:{ref.line}"


def _printable(line: str) -> str:
    """A name from outside cannot move the cursor or hide text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
