"""What a terminal would obey is shown, not obeyed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.cli.argument_view import View
from stockade.cli.statement_view import page
from stockade.cli.visible import visible, visible_lines
from stockade.statement import Statement
from tests.stockade.serving import statement


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ümlaut, 漢字, 🙂", "plain text, ümlaut, 漢字, 🙂"),
        ("\x1b[2J", "␛[2J"),
        ("a\rb\nc\td\0\x7f", "a␍b␊c␉d␀␡"),
        ("\u202egpj.exe", "\\u{202e}gpj.exe"),
        ("a\u200bb\u2060\ufeff", "a\\u{200b}b\\u{2060}\\u{feff}"),
        ("\u2066x\u2069", "\\u{2066}x\\u{2069}"),
        ("\x9b31m", "\\u{9b}31m"),
        ("x\u00a0y\u3000z", "x\\u{a0}y\\u{3000}z"),
        ("\u3164\u115f\u2800", "\\u{3164}\\u{115f}\\u{2800}"),
        ("a\ufe0f\U000e0041", "a\\u{fe0f}\\u{e0041}"),
        ("\ud800", "\\u{d800}"),
        ("e\u0301", "e\u0301"),
        ("e" + "\u0301" * 4, "e\u0301\u0301\\u{301}\\u{301}"),
        ("\u0301", "\\u{301}"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """Controls, overrides, invisible characters and stacked marks become visible text."""
    assert visible(text) == shown


@given(st.text(alphabet=st.characters()))
def test_never_raw(text: str) -> None:
    """Nothing of a category that a terminal obeys or hides comes through, whatever the text."""
    for line in visible_lines(text):
        bad = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
        assert not {unicodedata.category(character) for character in line} & bad


def lines_of(said: Statement, *, width: int = 80, whole: bool = False) -> list[str]:
    return [row.text for row in page(said, View(width, whole=whole)).rows]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(40, 120))
def test_statement_is_safe_and_fits(text: str, width: int) -> None:
    """Whatever an agent puts into names and values, no line is too wide, raw or a false label."""
    from rich.cells import cell_len

    said = statement(arguments={text: {"x": [text]}, "k": text})
    for line in lines_of(said, width=width, whole=True):
        assert all(unicodedata.category(character) not in ("Cc", "Cf") for character in line)
        assert cell_len(line) <= width
    shown = lines_of(said, width=width, whole=True)
    start = next(n for n, line in enumerate(shown) if line.startswith("arguments"))
    assert all(line.startswith("  ") for line in shown[start + 1 :])


def test_unfolded_statement_shows_everything() -> None:
    """Every character of a long argument is there when it is not folded."""
    text = "".join(chr(97 + n % 26) for n in range(5000))
    lines = lines_of(statement(arguments={"k": text}), whole=True)
    assert text in "".join(line[6:] for line in lines if line[4:5] in ("│", "┊"))


def test_fold_says_what_is_hidden() -> None:
    """A folded argument says how much is not shown."""
    lines = lines_of(statement(arguments={"k": "x" * 5000}))
    assert any("NOT SHOWN: 4.1 KiB of 4.9 KiB" in line for line in lines)


def test_json_strings_show_escapes_alike() -> None:
    """An escape inside nested JSON looks like one in plain text; an innocent backslash stays."""
    lines = lines_of(statement(arguments={"k": ["\x1b[0m", "\\u001b"]}))
    text = "\n".join(lines)
    assert '"␛[0m"' in text
    assert '"\\\\u001b"' in text
