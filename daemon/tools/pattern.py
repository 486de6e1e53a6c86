r"""Regular expressions of a tool's schema, matched in time linear in the text.

Python's ``re`` backtracks and has no timeout: one ``(a+)+$`` and thirty letters hold the daemon
for minutes. So patterns are compiled by the Rust ``regex`` crate, which pydantic-core carries: it
has no backtracking, hence no look-around and no back-references, and refuses a pattern that
compiles too large. Patterns are not anchored, as JSON Schema says, and ``$`` is the very end (in
Python it also matches before a last line feed).

``\d`` and ``\w`` are rewritten to their ASCII meaning of ECMA-262, the dialect JSON Schema
names: read as Unicode, they would let through more than the author wrote.

Errors: ``PatternError``; ``SubjectError`` for a text that it is not tried on.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_PATTERN = 256  # characters of a pattern
MAX_SUBJECT = 4096  # characters a pattern is tried on

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# A class may stand inside a class in this dialect, so these fit in both places.
_ASCII = {"d": "[0-9]", "D": "[^0-9]", "w": "[0-9A-Za-z_]", "W": "[^0-9A-Za-z_]"}


class PatternError(Exception):
    """The pattern is too long, or not one that can be matched in linear time."""


class SubjectError(Exception):
    """The text is too long to be tried: whether it matches or does not is not known."""


class Pattern:
    """One compiled pattern."""

    __slots__ = ("_validator",)

    def __init__(self, source: str) -> None:
        if len(source) > MAX_PATTERN:
            raise PatternError(f"longer than {MAX_PATTERN} characters")
        ascii_source = _ESCAPE.sub(lambda m: _ASCII.get(m[1], m[0]), source)
        try:
            self._validator = SchemaValidator(
                core_schema.str_schema(pattern=ascii_source, regex_engine="rust-regex", strict=True)
            )
        except SchemaError:
            raise PatternError(
                "not a pattern with a linear-time match (no look-around, no back-references)"
            ) from None

    def found_in(self, subject: str) -> bool:
        """Whether the pattern occurs in the subject; raises `SubjectError`."""
        if len(subject) > MAX_SUBJECT:
            raise SubjectError(f"longer than {MAX_SUBJECT} characters")
        return self._validator.isinstance_python(subject)


@lru_cache(maxsize=2048)
def compile_pattern(source: str) -> Pattern:
    """Compile a pattern, or remember it."""
    return Pattern(source)
