"""Laws of the approver's screen, whatever an agent wrote and however large the terminal is."""

import time
import unicodedata
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stockade.cli.answering import taken
from stockade.cli.argument_view import View
from stockade.cli.desk_state import Desk, Mode
from stockade.cli.desk_view import frame
from stockade.cli.lease_choice import Choice
from stockade.errors import StockadeError
from tests.stockade.serving import approval, statement

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
VALUE = (
    TEXT
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.booleans()
    | st.lists(TEXT, max_size=3)
    | st.none()
)


def _desk(arguments: dict[str, Any], who: str, mode: Mode, *, whole: bool, bounded: bool) -> Desk:
    said = replace(statement(1, arguments), requester_name=who)
    # What the desk says itself begins with words of its own.
    said_by_it, lost = f"said {who * 9}", f"lost {who}"
    desk = Desk(view=View(whole=whole), mode=mode, said=said_by_it, reason=who, lost=lost)
    for number in range(1, 8):
        desk.heard(approval(replace(said, approval_id=f"{said.approval_id[:-1]}{number}")))
    desk.shown = taken(desk.waiting[3])
    if mode is Mode.LEASE:
        desk.choice = Choice(desk.shown.statement, bounded=bounded)
        try:
            desk.terms = None if desk.choice.missing() else desk.choice.terms()
        except StockadeError as error:
            desk.refusal = error.message
    return desk


@given(
    st.dictionaries(TEXT, VALUE, max_size=6),
    TEXT,
    st.sampled_from(Mode),
    st.integers(40, 130),
    st.integers(16, 60),
    st.integers(0, 200),
    st.booleans(),
    st.booleans(),
)
@example(
    arguments={},
    who=">",
    mode=Mode.READING,
    width=40,
    height=16,
    top=0,
    whole=False,
    bounded=False,
)
def test_a_frame_is_the_screen(
    arguments: dict[str, Any],
    who: str,
    mode: Mode,
    width: int,
    height: int,
    top: int,
    whole: bool,
    bounded: bool,
) -> None:
    """As many rows as the screen has, none too wide or raw; what is asked keeps its place."""
    from rich.cells import cell_len

    desk = _desk(arguments, who, mode, whole=whole, bounded=bounded)
    desk.top = top
    shown = frame(desk, width, height, int(time.time() * 1000))
    assert len(shown.rows) == height
    for row in shown.rows:
        assert cell_len(row.text) <= width
        assert not {unicodedata.category(one) for one in row.text} & {"Cc", "Cf", "Zl", "Zp"}
    here = [row.text.startswith(">") for row in shown.rows[1:5]]
    assert here.count(True) == 1
    assert not any(row.text.startswith(">") for row in shown.rows[5:])
    assert " left, until " in "\n".join(row.text for row in shown.rows[-4:])


@given(st.dictionaries(TEXT, VALUE, max_size=6), st.integers(40, 130), st.integers(16, 40))
def test_scrolling_leaves_nothing_out(arguments: dict[str, Any], width: int, height: int) -> None:
    """Read from top to bottom, the screen has shown each row of what is asked."""
    desk = _desk(arguments, "builder", Mode.READING, whole=True, bounded=False)
    desk.said = desk.lost = ""
    assert desk.shown is not None
    wanted = desk.page(replace(desk.view, width=width, at_desk=True)).rows
    seen, top = set(), 0
    while True:
        desk.top = top
        shown = frame(desk, width, height, 0)
        seen |= set(shown.rows)
        if top >= shown.last_top:
            break
        top += max(shown.shown_rows - 1, 1)
    assert set(wanted) <= seen
