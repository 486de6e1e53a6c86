"""The engine's word on statements: that each is one policy, and fits the schema strictly.

Trusted so that what passes was parsed and validated by the engine itself, whoever read it before.
The engine takes 0.2 ms for each, releases the interpreter meanwhile, and its working memory grows
with them: so it is given a few hundred at a time, by threads of their own, while the next are read.
What it said yes to under this very schema it is not asked again: it looks at each policy by itself.
Raises nothing of its own; says what is wrong as `Problem`s.
"""

import re
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import cedarpy

from policy.engine import place_of
from policy.errors import Problem
from policy.schema import Schema
from policy.statements import Statement

CHUNK = 256
"""How many to add at once."""

# More would leave a small machine's calls no processor.
_THREADS = 2

SYNTAX_FIX = "see docs.cedarpolicy.com"


def problem_at(statement: Statement, code: str, message: str, fix: str) -> Problem:
    """A problem where the statement begins."""
    return Problem(statement.file, statement.line, code, message, fix)


class Examination:
    """One examination of many statements. Its threads live as long as the `with` block.

    `valid` are texts of policies that the engine has found valid under this schema.
    """

    def __init__(self, schema: Schema, valid: Collection[str] = frozenset()) -> None:
        self._schema = schema
        self._valid = valid
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="policy-examination")
        self._under_way: list[Future[list[Problem]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, statements: Sequence[Statement]) -> None:
        """A few hundred more to look at."""
        new = [one for one in statements if one.text not in self._valid]
        if new:
            self._under_way.append(self._threads.submit(_examine, new, self._schema))

    def problems(self) -> list[Problem]:
        """What is wrong with all of them, when that is known."""
        return [problem for some in self._under_way for problem in some.result()]


def _examine(statements: Sequence[Statement], schema: Schema) -> list[Problem]:
    """Parses and validates some statements; what a plain one is was read without the engine."""
    text = "\n".join(statement.text for statement in statements)
    try:
        count = len(cedarpy.PolicySet.from_str(text, release_gil=True))
    except ValueError:
        return _examine_each(statements, schema)
    if count != len(statements):
        wrong = "the engine counts otherwise"
        return [
            problem_at(statements[0], "POLICY_SYNTAX", wrong, "simplify the comments from here")
        ]
    return _validate(text, statements, schema)


def _examine_each(statements: Sequence[Statement], schema: Schema) -> list[Problem]:
    """One that does not parse keeps the others from being validated: find it, and go on without."""
    good: list[Statement] = []
    problems: list[Problem] = []
    for statement in statements:
        try:
            cedarpy.PolicySet.from_str(statement.text)
        except ValueError as error:
            problems.append(problem_at(statement, "POLICY_SYNTAX", str(error), SYNTAX_FIX))
        else:
            good.append(statement)
    if not problems:
        wrong = "these parse one by one, but not together"
        return [
            problem_at(statements[0], "POLICY_SYNTAX", wrong, "simplify the policies from here")
        ]
    return problems + (_examine(good, schema) if good else [])


def _validate(text: str, statements: Sequence[Statement], schema: Schema) -> list[Problem]:
    """The engine's strict validation; its error names a policy by position."""
    result = cedarpy.validate_policies(text, schema.handle, release_gil=True)
    problems = []
    for error in result.errors:
        place = place_of(error.policy_id)
        message = re.sub(r"^for policy `policy\d+`, ", "", error.error)
        fix = (
            "compare with the schema, `stockade policy show --schema`: "
            "an attribute with a `?` there needs a `has` before it"
        )
        if place is not None and place < len(statements):
            problems.append(problem_at(statements[place], "POLICY_INVALID", message, fix))
        else:
            problems.append(Problem("", 0, "POLICY_INVALID", message, fix))
    if not result.validation_passed and not problems:
        problems.append(Problem("", 0, "POLICY_INVALID", "the set does not validate", "check it"))
    return problems
