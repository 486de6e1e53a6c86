"""The laws of a receipt's fields in words: nothing left out, no line but ours, 80 columns."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ledger.account import Chapter, Fact, Step, as_text
from ledger.wording import count, in_words, visible

WORDS = st.text(max_size=30)
SCALARS = WORDS | st.integers() | st.booleans() | st.none()
NAMES = st.sampled_from(["questions", "controls", "risk", "heard", "x", "a_long_name_of_a_field"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4)
)
QUESTION = {
    "principal": 'Device::"dev-a"',
    "action": "call",
    "resource": 'Tool::"t"',
    "allowed": False,
    "code": "FORBIDDEN",
    "policies": ["no (a.cedar:3)"],
    "errors": ["it failed"],
}


def texts(value: object) -> list[str]:
    """Every string and number in it, names included."""
    if isinstance(value, dict):
        return [text for name, one in value.items() for text in (name, *texts(one))]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(NAMES, VALUES)
def test_nothing_is_left_out(name: str, value: object) -> None:
    """Each text of a field is in what is said of it, whatever the form."""
    said = squeezed(in_words(name, value))
    if isinstance(value, str):
        assert said == squeezed(value)
    elif name not in ("questions", "controls"):  # which have words in place of their names
        for text in texts(value):
            assert squeezed(visible(text)) in said


@given(NAMES, st.lists(VALUES, max_size=4) | st.dictionaries(WORDS, VALUES, max_size=4))
def test_no_text_makes_a_line_of_its_own(name: str, value: object) -> None:
    """Lines are ours alone, and are longer than 80 columns only where a word is."""
    lines = as_text([Chapter("", (Step("", (Fact(name, in_words(name, value)),)),))]).splitlines()
    for line in lines[4:]:
        assert line.isprintable()
        assert line.startswith(("    ", "      | ")) or not line
        assert len(line) <= 80 or len(max(line.split(" "), key=len)) > 40


def test_a_question_is_said_as_one_asks_it() -> None:
    """Who, what, on what; the answer, its code, the policies, and what went wrong."""
    assert in_words("questions", [QUESTION]).splitlines() == [
        "1 asked, 1 answered with no",
        '1. may Device::"dev-a" call Tool::"t"? no: FORBIDDEN, by no (a.cedar:3);',
        "   errors it failed",
    ]


def test_a_control_says_what_was_achieved_and_what_was_asked() -> None:
    """Both, by name."""
    controls = {"pids": {"requested": "64", "achieved": "cgroup v2"}}
    assert in_words("controls", controls).splitlines()[1:] == ["pids: cgroup v2 (64)"]


@pytest.mark.parametrize(("number", "said"), [(0, "0 bytes"), (1, "1 byte"), (2, "2 bytes")])
def test_one_is_not_many(number: int, said: str) -> None:
    """Whatever is counted."""
    assert count(number, "byte") == said
