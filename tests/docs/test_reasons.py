"""docs/reasons.md has every reason code there is, and no other."""

import re
from collections import Counter

from tests.docs import codes
from tests.docs.pages import read

_CODE = re.compile(r"`([A-Z][A-Z0-9_]+)`")
# In the page, but the user's environment's.
_NOT_CODES = {"STOCKADE_HOME"}


def _documented() -> Counter[str]:
    """First cells of the tables, and the words of the lists under "Defects"."""
    text = read("docs/reasons.md")
    tables, _, defects = text.partition("## Defects")
    rows = (line.split("|")[1] for line in tables.splitlines() if line.startswith("| `"))
    found = [*_CODE.findall(" ".join(rows)), *_CODE.findall(defects)]
    return Counter(code for code in found if code not in _NOT_CODES)


def test_every_code_is_documented() -> None:
    """A code that a client can meet is in the tables."""
    assert sorted(codes.codes() - set(_documented())) == []


def test_no_code_is_documented_that_is_gone() -> None:
    """What no code gives any more is not in the tables."""
    assert sorted(set(_documented()) - codes.codes()) == []


def test_a_code_is_documented_once() -> None:
    """Two meanings of one code would be one too many."""
    assert [code for code, count in _documented().items() if count > 1] == []


def test_no_code_is_made_in_an_unknown_way() -> None:
    """The formats that make codes are the ones whose results are listed."""
    assert codes.formats() == set(codes.MADE)
