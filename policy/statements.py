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

MAX_DEPTH = 24  # brackets within brackets
MAX_WEIGHT = 192  # operators in one statement; each may be one level of the engine's recursion
MAX_STATEMENT = 64 * 1024  # characters

# Cedar's lexer: comments end at either line break, strings may hold escapes and line breaks. What
# is no string there must be none here, or brackets could hide in it: so no escaped line break.
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n\r]*)
      | (?P<string>"(?:[^"\\]|\\[^\n])*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<other>\|\||&&|.)""",
    re.VERBOSE | re.DOTALL,
)
_UNUSUAL = re.compile(r"[^\t\n\r -~]")
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_DEEPER, _SHALLOWER = frozenset("([{"), frozenset(")]}")
_HEAVY = frozenset({"&&", "||", "+", "-", "*", ".", "!", "(", "[", "{"}) | {
    *("if", "has", "like", "is", "in", "when", "unless")
}


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


def split(file: str, text: str) -> tuple[list[Statement], list[Problem]]:
    """The statements of a file, or what keeps it from having any."""
    if hidden := _hidden_character(file, text):
        return [], [hidden]
    return _Scanner(file, text).run()


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
        self._start: int | None = None
        self._start_line = 1
        self._depth = self._weight = 0
        self._too_deep = False

    def run(self) -> tuple[list[Statement], list[Problem]]:
        for match in _TOKEN.finditer(self._text):
            if match.lastgroup != "skip":
                self._take(match.group(), match.start(), match.end(), match.lastgroup == "string")
            self._line += match.group().count("\n")
        if self._start is not None:
            self._refuse("POLICY_SYNTAX", "the file ends inside a policy", "end it with a `;`")
        return self._found, self._problems

    def _take(self, lexeme: str, start: int, end: int, is_string: bool) -> None:
        if self._start is None:
            self._start, self._start_line = start, self._line
        if is_string:
            return
        self._weight += lexeme in _HEAVY
        self._depth += (lexeme in _DEEPER) - (lexeme in _SHALLOWER)
        self._too_deep |= self._depth > MAX_DEPTH
        if lexeme == ";":
            self._end(end)

    def _end(self, end: int) -> None:
        text = self._text[self._start : end]
        if self._too_deep or self._weight > MAX_WEIGHT or len(text) > MAX_STATEMENT:
            self._refuse(
                "POLICY_TOO_COMPLEX",
                f"the policy is nested deeper than {MAX_DEPTH}, has more than {MAX_WEIGHT} "
                f"operators, or is longer than {MAX_STATEMENT} characters",
                "split it; for many values write a set: [..].contains(x)",
            )
        else:
            self._found.append(Statement(text, self._file, self._start_line))
        self._start, self._depth, self._weight, self._too_deep = None, 0, 0, False

    def _refuse(self, code: str, message: str, fix: str) -> None:
        self._problems.append(Problem(self._file, self._start_line, code, message, fix))
