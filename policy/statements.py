"""Splits the text of a policy file into its statements, before the engine sees any of it.

Trusted for two things. Lines: the engine reports policies by position only. And the life of the
process: the engine's parser and evaluator recurse, and text nested a few hundred levels deep ends
the process with a stack overflow that no handler can catch; so depth and weight are capped here, by
a scanner that does not recurse. It does not judge policy: each statement is parsed by the engine
afterwards and must turn out to be exactly one. Raises nothing; says what is wrong as `Problem`s.
"""

import re
import unicodedata
from dataclasses import dataclass

from policy.errors import Problem
from policy.pace import Pause, no_pause, paced

MAX_DEPTH = 24  # brackets within brackets
MAX_WEIGHT = 192  # operators in one statement; each may be one level of the engine's recursion
MAX_STATEMENT = 64 * 1024  # characters

# What counts, and where something begins in which nothing counts. Cedar's lexer: comments end at
# either line break, strings may hold escapes and line breaks. What is no string there must be none
# here, or brackets could hide in it: so no escaped line break.
_TOKEN = re.compile(
    r"""(?P<skip>"(?:[^"\\]|\\[^\n])*"|//[^\n\r]*)
      | [;(){}\[\]+\-*.!] | && | \|\|
      | (?<![A-Za-z_])(?:if|has|like|is|in|when|unless)(?![A-Za-z0-9_])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BETWEEN = re.compile(r"(?:\s+|//[^\n\r]*)*")
_UNUSUAL = re.compile(r"[^\t\n\r -~]")
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_DEEPER, _SHALLOWER = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy, as an explanation names it."""

    id: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of what should be one policy, and where it begins."""

    text: str
    file: str
    line: int
    weight: int = 0
    """How many operators it has: as deep as it can be nested, however few its brackets."""


def split(file: str, text: str, pause: Pause = no_pause) -> tuple[list[Statement], list[Problem]]:
    """The statements of a file, or what keeps it from having any."""
    if hidden := _hidden_character(file, text):
        return [], [hidden]
    return _Scanner(file, text).run(pause)


def _hidden_character(file: str, text: str) -> Problem | None:
    """Text that reads differently from what it says: controls, bidirectional marks, zero width."""
    for match in _UNUSUAL.finditer(text):
        char = match.group()
        if not char.isascii() and unicodedata.category(char) not in _HIDDEN:
            continue
        return Problem(
            file,
            text.count("\n", 0, match.start()) + 1,
            "HIDDEN_CHARACTER",
            f"character U+{ord(char):04X} cannot be seen, or changes how text is shown",
            "remove it; in a string write \\u{...}",
        )
    return None


class _Scanner:
    """One pass over one file."""

    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text
        self._found: list[Statement] = []
        self._problems: list[Problem] = []
        self._line = 1
        self._counted = 0  # up to where lines have been counted
        self._start = 0

    def run(self, pause: Pause) -> tuple[list[Statement], list[Problem]]:
        self._begin(0)
        depth = weight = deepest = 0
        for match in paced(_TOKEN.finditer(self._text), pause, every=256):
            if match.lastgroup:
                continue
            lexeme = match.group()
            if lexeme == ";":
                self._end(match.end(), deepest, weight)
                depth = weight = deepest = 0
            elif lexeme in _DEEPER:
                depth += 1
                deepest = max(deepest, depth)
                weight += 1
            elif lexeme in _SHALLOWER:
                depth -= 1
            else:
                weight += 1
        if self._start < len(self._text):
            self._refuse("POLICY_SYNTAX", "the file ends inside a policy", "end it with a `;`")
        return self._found, self._problems

    def _begin(self, after: int) -> None:
        """A statement begins at what is neither space nor comment."""
        between = _BETWEEN.match(self._text, after)
        self._start = between.end() if between else after
        self._line += self._text.count("\n", self._counted, self._start)
        self._counted = self._start

    def _end(self, end: int, deepest: int, weight: int) -> None:
        text = self._text[self._start : end]
        if deepest > MAX_DEPTH or weight > MAX_WEIGHT or len(text) > MAX_STATEMENT:
            self._refuse(
                "POLICY_TOO_COMPLEX",
                f"the policy is nested deeper than {MAX_DEPTH}, has more than {MAX_WEIGHT} "
                f"operators, or is longer than {MAX_STATEMENT} characters",
                "split it; for many values write a set: [..].contains(x)",
            )
        else:
            self._found.append(Statement(text, self._file, self._line, weight))
        self._begin(end)

    def _refuse(self, code: str, message: str, fix: str) -> None:
        self._problems.append(Problem(self._file, self._line, code, message, fix))
