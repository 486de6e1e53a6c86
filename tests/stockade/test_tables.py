"""Tables: no word broken, nothing cut off, and never wider than where they are shown."""

import io
import re
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from stockade.cli.column_widths import GAP, LONGEST_WHOLE, widths
from stockade.cli.terminal import table

WORDS = st.lists(st.text("abcxyz-é語", min_size=1, max_size=30), max_size=5).map(" ".join)
ROWS = st.integers(1, 6).flatmap(
    lambda count: st.lists(st.lists(WORDS, min_size=count, max_size=count), min_size=1, max_size=6)
)


@given(rows=ROWS, room=st.integers(20, 130))
def test_widths_hold_every_word(rows: list[list[str]], room: int) -> None:
    """They fit the room, hold each word that is no digest, and none is wider than it has to be."""
    found = widths(rows, room)
    wide = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if found is None:
        assert sum(wide) + GAP * (len(wide) - 1) > room
        return
    assert sum(found) + GAP * (len(found) - 1) <= room
    assert found[0] == wide[0]
    for width, natural, column in zip(found, wide, zip(*rows, strict=True), strict=True):
        assert width <= natural
        longest = max(cell_len(word) for cell in column for word in cell.split() or [""])
        assert width >= min(longest, LONGEST_WHOLE)


def shown(rows: list[list[str]], *headings: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        table(headings, rows, empty="")
    return out.getvalue()


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_a_long_name_breaks_no_other_word(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name as long as it may be: the rest is read as before, side by side or one below."""
    monkeypatch.setenv("COLUMNS", columns)
    rows = [["a" * 63, "1.0.0", "builtin", "Read a file of a workspace."]]
    said = shown(rows, "tool", "version", "from", "summary")
    for word in ("a" * 63, "version", "1.0.0", "builtin", "workspace."):
        assert re.search(rf"(?<!\S){re.escape(word)}(?!\S)", said), said


def test_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the columns do not fit beside each other, each row is a block of its own."""
    rows = [["dev-aaaaaaaaaaaaaaaa", "vm", "active"], ["dev-bbbbbbbbbbbbbbbb", "phone", "revoked"]]
    headings = ("device", "name", "status")
    monkeypatch.setenv("COLUMNS", "80")
    assert shown(rows, *headings).splitlines() == [
        "device                name   status",
        "dev-aaaaaaaaaaaaaaaa  vm     active",
        "dev-bbbbbbbbbbbbbbbb  phone  revoked",
    ]
    monkeypatch.setenv("COLUMNS", "40")
    rows = [[*row, "a-group-of-devices"] for row in rows]
    assert shown(rows, *headings, "groups").splitlines() == [
        "device  dev-aaaaaaaaaaaaaaaa",
        "name    vm",
        "status  active",
        "groups  a-group-of-devices",
        "",
        "device  dev-bbbbbbbbbbbbbbbb",
        "name    phone",
        "status  revoked",
        "groups  a-group-of-devices",
    ]
