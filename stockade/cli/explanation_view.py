"""An explanation as people read it: what was ruled, why, and what the answer was made of.

Pure: a message in, lines out. Nothing is left out that the message has but context that all
questions share, which is shown once.
"""

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stockade.cli.machine import plain
from stockade.cli.policy_files import place
from stockade.cli.risk_words import inputs_in_words
from stockade.cli.terminal import columns, when

if TYPE_CHECKING:
    from stockade.v1 import policy_pb2

LABEL = 11
_WORDS = {
    "permitted": "permitted, unattended",
    "needs_approval": "needs approval",
    "denied": "denied",
}


def lines(answer: "policy_pb2.ExplainPolicyResponse") -> Iterator[str]:
    """All of it."""
    supposed = not answer.call_id
    if answer.tool:
        yield from _fact("supposed" if supposed else "call", answer.call_id or answer.tool)
        if not supposed:
            yield from _fact("tool", answer.tool)
        yield from _fact("arguments", answer.arguments.decode())
        if answer.arguments_redacted:
            yield from _fact("", "a redacted copy: what policy was asked about is not kept")
        if answer.workspace:
            yield from _fact("workspace", answer.workspace)
    origin = f" from {answer.origin}" if answer.origin else ""
    yield from _fact("asked by", f"{answer.principal}{origin}")
    for number, ruling in enumerate(answer.rulings):
        if number:
            yield ""
            yield from _answers(answer)
        yield from _ruling(ruling)
    if len(answer.rulings) < 2:
        yield from _answers(answer)
    if not supposed:
        yield ""
        yield from _today(answer)


def _ruling(one: "policy_pb2.Explanation") -> Iterator[str]:
    yield from _fact("ruling", _said(one))
    if one.fix:
        yield from _fact("fix", one.fix)
    if one.time.ByteSize():
        yield from _fact("when", when(one.time))
    if one.receipt_kind:
        yield from _fact("receipt", f"{one.receipt_sequence} ({one.receipt_kind})")
    entities = f", entities {one.entities_digest[:16]}" if one.entities_digest else ""
    yield from _fact("policy", f"digest {one.policy_digest[:16]}{entities}")
    if one.risk_inputs:
        yield from _fact(
            "risk",
            f"{one.risk_milli / 1000:.3f} of 1: {inputs_in_words(json.loads(one.risk_inputs))}",
        )
        yield from _fact("tier", f"{one.tier or 'none'}: {one.tier_reason}")
    for number, question in enumerate(one.questions, 1):
        yield from _question(number, question)
    yield from _context(one)
    if one.entities:
        yield "entities"
        for entity in json.loads(one.entities):
            yield from _wrapped(_entity(entity), 2)
    for text in one.notes:
        yield from _fact("note", text)


def _said(one: "policy_pb2.Explanation") -> str:
    word = _WORDS[str(plain(one)["verdict"])]
    if one.reason == "APPROVED":
        word = "permitted, with approval"
    return f"{word}, {one.reason}" + (f": {one.message}" if one.message else "")


def _question(number: int, one: "policy_pb2.PolicyQuestion") -> Iterator[str]:
    answer = "yes" if one.allowed else "no"
    yield from _wrapped(
        f"{number}. may {one.principal} {one.action} {one.resource}? {answer}: {one.code}", 0
    )
    for ref, text in zip(one.policies, one.texts, strict=True):
        yield f"     {place(ref)}"
        for line in text.expandtabs(2).splitlines():
            yield f"       {line}"
    for text in one.errors:
        yield from _wrapped(f"error: {text}", 5)


def _context(one: "policy_pb2.Explanation") -> Iterator[str]:
    """Of the last question: the others differ by the tier, or by the tool of a secret."""
    known = [question.context for question in one.questions if question.context]
    if not known:
        return
    yield "context of the last question"
    for name, value in json.loads(known[-1]).items():
        yield from _wrapped(f"{name} = {_value(value)}", 2)


def _today(answer: "policy_pb2.ExplainPolicyResponse") -> Iterator[str]:
    if not answer.HasField("today"):
        yield from _fact("today", f"cannot be said: {answer.today_unknown}")
        return
    if not answer.differences:
        yield from _fact("today", "the same")
        return
    yield from _fact("today", f"otherwise: {_said(answer.today)}")
    for text in answer.differences:
        yield from _fact("", text)


def _answers(answer: "policy_pb2.ExplainPolicyResponse") -> Iterator[str]:
    for one in answer.answers:
        said = "approved" if one.approved else "rejected"
        why = f": {one.reason}" if one.reason else ""
        by = ", ".join(place(ref) for asked in one.questions for ref in asked.policies)
        counts = f", which counts by {by}" if by else ""
        yield from _fact("answer", f"{one.approver} {said} {when(one.time)}{why}{counts}")


def _entity(entity: dict[str, Any]) -> str:
    parents = f" in {', '.join(entity['parents'])}" if entity["parents"] else ""
    own = {**entity["attributes"], **{f"tag {k}": v for k, v in entity["tags"].items()}}
    attributes = ", ".join(f"{name} {_value(value)}" for name, value in own.items())
    return f"{entity['uid']}{parents}{': ' if attributes else ''}{attributes}"


def _value(value: Any) -> str:
    """A value of Cedar's, as a policy would write it, near enough."""
    match value:
        case {"__entity": {"type": kind, "id": name}}:
            return f"{kind}::{json.dumps(name)}"
        case {"__extn": {"fn": function, "arg": argument}}:
            return f"{function}({json.dumps(argument)})"
        case dict():
            return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def _fact(label: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        columns(),
        initial_indent=f"{label:<{LABEL}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label]


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        columns(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
