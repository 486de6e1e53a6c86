"""The desk as rows of a screen: what waits, the one that is asked about, and the keys.

Pure but for the clock. The one in question keeps its place at the top and the keys theirs at the
bottom, however long what stands between them is: nothing in it can scroll them away.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stockade.cli import rows
from stockade.cli.answering import Shown, answers
from stockade.cli.desk_state import REASONS, Desk, Mode
from stockade.cli.ids import SHORTEST
from stockade.cli.lease_choice import ANYTHING, NOT_YET
from stockade.cli.leasing import meaning
from stockade.cli.rows import Row, clipped
from stockade.cli.statement_view import Page, labelled
from stockade.cli.terminal import local_time, size
from stockade.cli.visible import visible
from stockade.masking import masked
from stockade.v1.approval_pb2 import Approval

LISTED, SAID = 4, 3
NARROW = 60  # columns, in which a line has only id, tool and time
_READING = "a yes, once · e yes to exactly this, for a time · b bounded, for a time · r no"
# In a narrow terminal: yes and no before all else, and each key there is.
_READING_NARROW = "a yes, once · r no · e lease · b bounded"
_MORE_NARROW = "space · n next · s skip · f · m · q quit"
_MORE = "space further · n next · s skip · f unfold · m unmask · q quit"


@dataclass(frozen=True, slots=True)
class Frame:
    """A screen's rows, and how far down what is read goes."""

    rows: tuple[Row, ...]
    last_top: int
    shown_rows: int
    page: Page | None


def frame(desk: Desk, width: int, height: int, now_ms: int) -> Frame:
    """Exactly `height` rows."""
    head = [*_title(desk, width), *_list(desk, width, now_ms)]
    foot = list(_foot(desk, width, now_ms))
    body, shown = _body(desk, width)
    room = max(height - len(head) - len(foot) - 2, 1)
    last_top = max(len(body) - room, 0)
    top = min(desk.top, last_top)
    part = body[top : top + room]
    filled = [*part, *(Row("") for _ in range(room - len(part)))]
    return Frame(
        (*head, _rule(width), *filled, _rule(width, _where(top, room, len(body))), *foot),
        last_top,
        room,
        shown,
    )


def _title(desk: Desk, width: int) -> Iterator[Row]:
    count = len(desk.waiting)
    said = "not connected" if desk.lost else f"{count} wait{'s' if count == 1 else ''}"
    text = f"Stockade approvals · {said}"
    yield Row(clipped(text, width), rows.TITLE)


def _list(desk: Desk, width: int, now_ms: int) -> Iterator[Row]:
    waiting = desk.waiting
    at = next((n for n, one in enumerate(waiting) if one.approval_id == desk.current), 0)
    start = max(min(at - LISTED + 1, len(waiting) - LISTED), 0) if at >= LISTED else 0
    for one in waiting[start : start + LISTED]:
        here = one.approval_id == desk.current
        mark = ">" if here else " "
        yield Row(
            f"{mark} {_one(desk, one, width - 2, now_ms)}", rows.TITLE if here else rows.PLAIN
        )
    if len(waiting) > LISTED:
        yield Row(f"  and {len(waiting) - LISTED} more (n next, p previous)", rows.FAINT)


def _one(desk: Desk, one: Approval, width: int, now_ms: int) -> str:
    short = visible(one.approval_id[:SHORTEST])
    brief = desk.brief(one)
    if brief.error:
        return clipped(f"{short} {brief.error}", width)
    left = f"{clock(brief.expires_ms - now_ms):>7}"
    if width < NARROW:
        return f"{short} {clipped(brief.tool, width - SHORTEST - len(left) - 2)} {left}"
    rest = f"{clipped(brief.tier, 9)} {brief.risk} {left}"
    room = max(width - SHORTEST - len(rest) - 3, 10)
    who, tool = clipped(brief.who, room // 2), clipped(brief.tool, room - room // 2)
    return f"{short} {who} {tool} {rest}"


def clock(milliseconds: int) -> str:
    """A time that is counted down: 9:41, 2:00:00."""
    seconds = max(milliseconds // 1000, 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _body(desk: Desk, width: int) -> tuple[list[Row], Page | None]:
    if desk.unclear is not None:
        _, error = desk.unclear
        return [
            *labelled("error", f"{error.reason}: {error.message}", width, rows.WARNING),
            *labelled("fix", error.fix, width),
        ], None
    if desk.shown is None:
        return [Row(line) for line in _nothing(desk)], None
    if desk.mode is Mode.LEASE:
        return list(_lease(desk, width)), None
    shown = desk.page(replace(desk.view, width=width, at_desk=True))
    return [*shown.rows, *answers(desk.shown.approval, width)], shown


def _nothing(desk: Desk) -> Iterator[str]:
    yield ""
    yield "  what waits is not known" if desk.lost else "  nothing waits for you"
    if desk.log:
        yield ""
        yield from (f"  {line}" for line in desk.log[-8:])


def _lease(desk: Desk, width: int) -> Iterator[Row]:
    yield Row(
        clipped("A LEASE: calls like this one then run without asking, until it ends", width),
        rows.WARNING,
    )
    choice = desk.choice
    if desk.terms is not None:
        numbered = choice is not None and choice.bounded
        facts = meaning(desk.terms, numbered=numbered, unmasked=desk.view.unmasked)
    elif choice is None:
        return
    else:
        said = [f"{number} {choice.said(name)}" for number, name in enumerate(choice.names, 1)]
        facts = [("arguments" if not n else "", text) for n, text in enumerate(said)]
    for label, text in facts:
        kind = rows.WARNING if text.endswith((ANYTHING, NOT_YET)) else rows.PLAIN
        yield from labelled(label, text if desk.view.unmasked else masked(text), width, kind)
    if desk.refusal:
        yield from labelled("no lease", desk.refusal, width, rows.WARNING)


def _foot(desk: Desk, width: int, now_ms: int) -> Iterator[Row]:
    if desk.lost:
        yield Row(clipped(visible(desk.lost), width), rows.WARNING)
    # What goes on is set in: it may quote anybody, and is not to begin a line like one of ours.
    lines = textwrap.wrap(visible(desk.said), width, subsequent_indent="  ", break_on_hyphens=False)
    for line in lines[:SAID]:
        yield Row(clipped(line, width).rstrip(), rows.WARNING)
    if desk.shown is not None:
        yield Row(clipped(_time(desk.shown, now_ms), width), rows.TITLE)
    yield from (Row(clipped(line, width)) for line in _keys(desk, width))


def _time(shown: Shown, now_ms: int) -> str:
    until = shown.statement.expires_ms
    return f"{clock(until - now_ms)} left, until {local_time(until)}"


def _keys(desk: Desk, width: int) -> Iterator[str]:
    if desk.unclear is not None:
        yield "s skip · n next · q quit"
    elif desk.shown is None:
        yield "q quit"
    elif desk.mode is Mode.SURE:
        yield "y yes all the same, once · f show it · escape back"
    elif desk.mode is Mode.LEASE:
        yield "y yes to this call, and the lease · escape back"
        yield _lease_keys(desk)
    elif desk.mode is Mode.WHY:
        yield "no, because: " + " · ".join(f"{n} {text}" for n, text in enumerate(REASONS, 1))
        yield "t type a reason · enter no reason · escape back"
    elif desk.mode is Mode.TYPING:
        yield f"reason: {visible(desk.reason)}_"
        yield "enter says no with this reason · escape back"
    else:
        narrow = width < len(_READING)
        yield _READING_NARROW if narrow else _READING
        if desk.leased:
            yield "l yes, and the lease that another has signed: shows it first"
        yield _MORE_NARROW if narrow else _MORE


def _lease_keys(desk: Desk) -> str:
    if desk.choice is None:
        return "as another has signed it: nothing in it can be changed · m unmask"
    bounds = " · 1-9 bound an argument" if desk.choice.bounded else ""
    return f"t time · u uses · p policy{bounds} · m unmask"


def _where(top: int, room: int, count: int) -> str:
    if count <= room:
        return ""
    more = "" if top + room >= count else ", space shows more"
    return f" lines {top + 1} to {min(top + room, count)} of {count}{more} "


def _rule(width: int, text: str = "") -> Row:
    return Row(f"──{text}".ljust(width, "─")[:width], rows.FAINT)


def hidden(shown: Page | None) -> str:
    """What a yes would be to without having been shown, in words."""
    if shown is None or not shown.hidden:
        return ""
    return f"{size(shown.hidden)} of its arguments are folded away"
