"""Untrusted text made safe to show: what a terminal would obey, hide or reorder is made visible.

Trusted by everything that prints. An agent chooses the arguments of its calls, and a person decides
by what they see: an escape sequence could erase or repaint it, a bidirectional override turn it
around, a zero-width character hide in it. Pure; never raises.
"""

import os
import unicodedata

# Invisible, but not of a category that is (Unicode: Default_Ignorable_Code_Point, and blanks).
_INVISIBLE = (
    *range(0x115F, 0x1161),  # Hangul fillers
    *range(0x17B4, 0x17B6),
    *range(0x180B, 0x1810),  # Mongolian selectors
    *range(0xFE00, 0xFE10),  # variation selectors
    *range(0xE0000, 0xE1000),  # tags, more selectors
    0x034F,  # combining grapheme joiner
    0x2800,  # blank Braille pattern
    0x3164,
    0xFFA0,
)
_HIDDEN = frozenset(_INVISIBLE)

# Control, format, surrogate, private use, unassigned, line and paragraph separator, enclosing mark.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"})
_MARKS_IN_A_ROW = 2  # real scripts seldom need more; stacks of them paint over other lines


def visible(text: str) -> str:
    r"""The text on one line: escape as ␛, other such characters as \u{202e}, the rest unchanged."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        mark = unicodedata.category(character) == "Mn"
        marks = marks + 1 if mark else 0
        excess = mark and (marks > _MARKS_IN_A_ROW or len(shown) == 0)
        shown.append(_escaped(character) if excess else _shown(character))
    return "".join(shown)


def visible_lines(text: str) -> list[str]:
    """The same for text of many lines; only line feeds part them."""
    return [visible(line) for line in text.split("\n")]


def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ␀ ␉ ␛
    if code == 0x7F:
        return "\u2421"
    category = unicodedata.category(character)
    strange_space = category == "Zs" and character != " "
    if category in _UNSHOWN or strange_space or code in _HIDDEN:
        return _escaped(character)
    return character


def _escaped(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"


def as_text(name: "str | os.PathLike[str]") -> str:
    """The name of a file with what is no UTF-8 written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
