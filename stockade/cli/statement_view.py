"""A statement as an approver reads it: all of it, nothing else, and nothing a terminal would obey.

Pure: a verified statement in, rows out. Every text goes through `visible`, and letters that pose as
others are shown as their numbers. Long arguments are folded with their size and what looks like a
secret is masked; a page says how much of either it has.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from stockade.cli import rows
from stockade.cli.argument_view import View, argument
from stockade.cli.lookalike import revealed
from stockade.cli.risk_words import inputs_in_words
from stockade.cli.rows import Row, cut
from stockade.cli.terminal import local_time, time_left
from stockade.cli.visible import visible
from stockade.statement import Statement

LABEL = 12
_NUMBERS = ("approval", "tool digest")


@dataclass(frozen=True, slots=True)
class Page:
    """A statement set out, and how much of it is not there to be read."""

    rows: tuple[Row, ...]
    hidden: int  # bytes that are folded away
    masked: int  # arguments with something masked


def page(statement: Statement, view: View | None = None) -> Page:
    """The statement as rows of at most `view.width` columns."""
    view = view or View()
    call = statement.call
    shown = [argument(name, value, view) for name, value in call.arguments.items()]
    head = labelled("arguments", "" if call.arguments else "none", view.width)
    facts = [*_facts(statement)]
    # At a desk the long numbers come last, and the time that is left has a line of its own.
    at_desk = (*_NUMBERS, "until") if view.at_desk else ()
    first = [one for one in facts if one[0] not in at_desk]
    last = [one for one in facts if one[0] in at_desk[:-1]]
    return Page(
        (
            *_rows(first, view.width),
            *head,
            *(row for one in shown for row in one.rows),
            *_rows(last, view.width),
        ),
        sum(one.hidden for one in shown),
        sum(one.masked for one in shown),
    )


def labelled(label: str, text: str, width: int, kind: str = rows.PLAIN) -> list[Row]:
    """A fact behind its label; long ones go on under their beginning."""
    start = f"{label:<{LABEL}}"
    lines = textwrap.wrap(
        visible(revealed(text)),
        width,
        initial_indent=start,
        subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [start.rstrip()]
    return [Row(piece, kind) for line in lines for piece in cut(line, width)]


def _rows(facts: list[tuple[str, str]], width: int) -> Iterator[Row]:
    for label, text in facts:
        yield from labelled(label, text, width)


def _facts(statement: Statement) -> Iterator[tuple[str, str]]:
    call = statement.call
    yield "approval", statement.approval_id
    yield "who", f"{statement.requester_name} ({call.principal})"
    yield "tool", call.tool
    yield "tool digest", call.tool_digest
    why = ", ".join(f"{one.id} ({one.file}:{one.line})" for one in statement.asked_because)
    yield "asks for", why or "no policy permits it without a person's yes"
    made_of = f": {inputs_in_words(statement.risk)}" if statement.risk else ""
    yield "risk", f"{statement.risk_milli / 1000:.3f} of 1{made_of}"
    yield "tier", call.tier
    yield "secrets", ", ".join(call.secrets) or "none"
    if call.hosts is not None:
        yield "hosts", ", ".join(call.hosts) or "none: it has no network"
    yield "workspace", call.workspace or "none"
    left = time_left(statement.expires_ms)
    yield "until", f"{local_time(statement.expires_ms)} ({left})"
