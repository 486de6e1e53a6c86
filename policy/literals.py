"""Text of a stranger's as Cedar writes it: literals that cannot end early or turn into a pattern.

Pure, total. What is neither an ASCII letter or digit nor one of a few signs is escaped by its
number.
"""

from policy.values import EntityUid


def literal(text: str) -> str:
    """A string."""
    return f'"{_escaped(text, star=False)}"'


def in_pattern(text: str) -> str:
    r"""A part of what `like` compares with, where a star must be `\*`; without the quotes."""
    return _escaped(text, star=True)


def reference(uid: EntityUid) -> str:
    """An entity."""
    return f"{uid.type}::{literal(uid.id)}"


def _escaped(text: str, *, star: bool) -> str:
    return "".join(
        c
        if (c.isascii() and c.isalnum()) or c in " /._-:"
        else ("\\*" if c == "*" and star else f"\\u{{{ord(c):x}}}")
        for c in text
    )
