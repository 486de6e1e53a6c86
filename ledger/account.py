"""Evidence as people read it: what was wanted, decided, approved, done, and what came of it.

One account, two forms: text, and one page of HTML that loads nothing. Trusted to show only what was
verified, to say of each signature and each document whether it was, and to let nothing in a receipt
act on the reader: control characters are shown as escapes, markup as text. Raises nothing.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.documents import approver_signed, granters_signed, output_parts
from ledger.evidence import Evidence
from ledger.receipt import Receipt
from ledger.wording import WIDTH, count, in_words, visible, wrapped

_ENDS: Final = ("denied", "rejected", "expired", "cancelled", "succeeded", "failed", "timed_out")
_PHASES: Final[Mapping[str, str]] = {
    "call.received": "goal",
    **{f"call.{state}": "decision" for state in ("permitted", "pending_approval")},
    "lease.used": "approval",
    "approval.asked": "approval",
    "approval.answered": "approval",
    "lease.offered": "approval",
    "lease.created": "approval",
    "call.running": "action",
    **{f"call.{state}": "outcome" for state in (*_ENDS, "killed", "interrupted")},
}
# What is said first of each, where a receipt has it.
_FIRST: Final[tuple[str, ...]] = (
    *("principal", "agent", "tool", "arguments", "reason", "message", "risk_milli", "tier"),
    *("policies", "answer", "approver", "signed", "workspace", "secrets", "exit_code"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a receipt says, or that was found of it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """A receipt, as it is told."""

    heading: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """What belongs together: the frame, a call, all that is of no call, a document."""

    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a call wrote to a stream, as far as it is kept and in the evidence."""

    stream: str
    # How much of it this is.
    said: str
    document: Mapping[str, Any] | None

    @property
    def text(self) -> str:
        """How much it is, then a line for each of its own."""
        return self.said if self.document is None else _excerpt(self.said, self.document)


def written(evidence: Evidence) -> tuple[Written, ...]:
    """What the calls in it wrote, in order."""
    return tuple(one for receipt in evidence.receipts for one in _written(receipt, evidence))


def account(evidence: Evidence) -> tuple[Chapter, ...]:
    """The chapters, in the order in which they are read."""
    calls: dict[str, list[Receipt]] = {}
    for receipt in evidence.receipts:
        call = receipt.body.get("call")
        calls.setdefault(call if isinstance(call, str) else "", []).append(receipt)
    apart = calls.pop("", [])
    return (
        _frame(evidence),
        *(
            Chapter(f"call {call}", tuple(_step(one, evidence) for one in found))
            for call, found in calls.items()
        ),
        *([Chapter("beside calls", tuple(_step(one, evidence) for one in apart))] if apart else ()),
        *(_document(digest, found) for digest, found in evidence.documents.items()),
    )


def as_text(chapters: Sequence[Chapter]) -> str:
    """Plain text, for a terminal or a file."""
    lines: list[str] = []
    for chapter in chapters:
        title = visible(chapter.title)
        lines += [title, "=" * len(title), ""]
        for step in chapter.steps:
            lines.append(visible(step.heading))
            for fact in step.facts:
                lines += _told(fact)
            lines.append("")
    return "\n".join(lines)


def _told(fact: Fact) -> Iterator[str]:
    first, *more = map(visible, fact.value.split("\n"))
    name = f"    {visible(fact.name)}:"
    if len(name) + len(first) > WIDTH + 8 and " " not in first:
        yield name  # a digest has a line for itself
        more = [first, *more]
    else:
        yield f"{name} {first}"
    # Behind a rule: a line of a text must not pass for a fact of ours.
    yield from (f"      | {line}" for line in more)


def as_html(chapters: Sequence[Chapter]) -> str:
    """One page without scripts, links or anything to load."""
    return "".join([_HEAD, *(_chapter(one) for one in chapters), "</body>\n</html>\n"])


def _frame(evidence: Evidence) -> Chapter:
    subject = ", ".join(f"{name} {value}" for name, value in evidence.subject.items())
    if evidence.complete:
        shown = "complete: there are no other receipts of this period"
    elif "from" in evidence.subject:
        last = evidence.receipts[-1].time
        shown = f"complete up to {last}, where the checkpoint ends; what came later is not shown"
    else:
        shown = "these receipts are in the ledger; that there are no others is not shown"
    number = len(evidence.receipts)
    each = "1," if number == 1 else f"{number}, each"
    facts = (
        Fact("ledger", evidence.chain),
        Fact("evidence of", subject),
        Fact("receipts", f"{each} signed and proved to be in the ledger"),
        Fact("shown", "\n".join(wrapped(shown, first=len("shown")))),
        Fact("checkpoint", f"{count(evidence.checkpoint.size, 'receipt')}, signed with both keys"),
        Fact("root", evidence.checkpoint.root.hex()),
    )
    return Chapter("evidence", (Step("verified", facts),))


def _step(receipt: Receipt, evidence: Evidence) -> Step:
    phase = _PHASES.get(receipt.kind, "")
    heading = f"{receipt.time}  entry {receipt.sequence}  {receipt.kind}"
    said = {name: in_words(name, value) for name, value in receipt.body.items()}
    said.pop("call", None)
    said |= _found(receipt, evidence)
    order = [name for name in _FIRST if name in said]
    order += [name for name in said if name not in _FIRST]
    facts = tuple(Fact(name, said[name]) for name in order if said[name])
    return Step(f"{phase.upper():<9} {heading}" if phase else heading, facts)


def _found(receipt: Receipt, evidence: Evidence) -> dict[str, str]:
    """What the evidence itself shows of a receipt."""
    body, found = receipt.body, dict[str, str]()
    arguments = _text_of(evidence, body.get("arguments_digest"))
    if arguments is not None:
        found["arguments"] = arguments
    if "redacted_arguments_digest" in body:
        found["arguments"] = _redacted(evidence, body)
    for one in _written(receipt, evidence):
        found[f"wrote to {one.stream}"] = one.text
    if receipt.kind == "approval.answered":
        statement = _text_of(evidence, body.get("statement_digest"))
        found["signed"] = _signed(None if statement is None else approver_signed(body, statement))
    if receipt.kind in ("lease.created", "lease.offered"):
        terms = _text_of(evidence, body.get("terms_digest"))
        right = None if terms is None else granters_signed(body, terms)
        found["signed"] = _signed(None if right is None else all(right))
        if right is not None and len(right) > 1:
            found["signed"] = _by_each(right)
    return found


def _written(receipt: Receipt, evidence: Evidence) -> Iterator[Written]:
    for stream in ("stdout", "stderr"):
        told = receipt.body.get(stream)
        if not isinstance(told, Mapping):
            continue
        if "withheld" in told:
            yield Written(stream, f"not kept ({told['withheld']})", None)
        elif "kept_digest" in told:
            digest = told["kept_digest"]
            document = evidence.documents.get(digest) if isinstance(digest, str) else None
            if document is None or document["what"] != "output":
                yield Written(stream, "what was kept of it is not in this evidence", None)
            else:
                yield Written(stream, _how_much(document), document)


def _how_much(document: Mapping[str, Any]) -> str:
    start, left_out, end = output_parts(document)
    if not left_out:
        return f"{count(len(start), 'byte')}, all of it"
    left = f"{left_out} between {_is(left_out)} not kept"
    if not end:
        left = f"the {left_out} after {_is(left_out)} not kept"
        return f"the first {count(len(start), 'byte')}; {left}"
    return f"the first {len(start)} and last {count(len(end), 'byte')}; {left}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _excerpt(said: str, document: Mapping[str, Any]) -> str:
    start, left_out, end = output_parts(document)
    parts = [said, _decoded(start)]
    if end:
        parts += [f"[{count(left_out, 'byte')} {_is(left_out)} not kept]", _decoded(end)]
    return "\n".join(parts)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").removesuffix("\n")


def _redacted(evidence: Evidence, body: Mapping[str, Any]) -> str:
    true = body.get("arguments_salted_digest", "none")
    said = f"redacted copy; the true input has digest {true} (salted)"
    copy = _text_of(evidence, body["redacted_arguments_digest"])
    return f"{said}\n{copy}" if copy is not None else f"{said}; the copy is not in this evidence"


def _by_each(right: tuple[bool, ...]) -> str:
    if all(right):
        return f"by the keys of the {len(right)} certificates below, each over the same lease"
    return f"NO: {right.count(False)} of {len(right)} signatures do not fit, or one counts twice"


def _signed(right: bool | None) -> str:
    if right is None:
        return "not checked: what was signed is not in this evidence"
    if right:
        return "by the key of the certificate below, over what is in this evidence"
    return "NO: the signature does not fit"


def _text_of(evidence: Evidence, digest: object) -> str | None:
    found = evidence.documents.get(digest) if isinstance(digest, str) else None
    return str(found["text"]) if found is not None and "text" in found else None


def _document(digest: str, document: Mapping[str, Any]) -> Chapter:
    what = str(document["what"])
    facts = [Fact("digest", digest)]
    if "text" in document:
        facts.append(Fact("text", document["text"]))
    elif what == "output":
        facts.append(Fact("output", _excerpt(_how_much(document), document)))
    elif what == "policy":
        facts += [Fact(name, text) for name, text in sorted(document["files"].items())]
        facts.append(Fact("entity data", document["data"]))
    else:
        facts.append(Fact("manifest.toml", document["manifest"]))
        facts += [Fact(one["path"], f"sha256 {one['sha256']}") for one in document["files"]]
    return Chapter(f"document: {what}", (Step("named by a receipt", tuple(facts)),))


def _chapter(chapter: Chapter) -> str:
    parts = [f"<section>\n<h2>{_markup(chapter.title)}</h2>\n"]
    for step in chapter.steps:
        parts.append(f"<h3>{_markup(step.heading)}</h3>\n<dl>\n")
        parts += [
            f"<dt>{_markup(fact.name)}</dt><dd>{_lines(fact.value)}</dd>\n" for fact in step.facts
        ]
        parts.append("</dl>\n")
    return "".join([*parts, "</section>\n"])


def _lines(text: str) -> str:
    return "\n".join(_markup(line) for line in text.split("\n"))


def _markup(text: str) -> str:
    return html.escape(visible(text))


_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Evidence from a ledger</title>
<style>
body { font: 15px/1.45 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
h2 { border-bottom: 1px solid; margin-top: 2.5em; overflow-wrap: anywhere }
h3 { font-size: 1em; font-family: monospace; margin: 1.5em 0 .3em }
dl { display: grid; grid-template-columns: 12em 1fr; gap: .15em 1em; margin: 0 }
dt { color: GrayText; overflow-wrap: anywhere }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace }
</style>
</head>
<body>
<h1>Evidence from a ledger</h1>
"""
