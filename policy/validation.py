"""The engine's word on statements: that each is one policy, and fits the schema strictly.

Trusted so that what passes was parsed and validated by the engine itself, whoever read it before.
The engine takes up to 0.2 ms for each, releases the interpreter meanwhile, and its working memory
grows with them: so it is given a few hundred at a time, by a thread of its own, while the next are
read. It looks at each policy by itself: so what it said yes to under this very schema it is not
asked again, and many of one action are put to it with what matters to that action
(`policy.narrowing`): a yes to that is a yes, and only after a no is the whole schema asked. Raises
nothing of its own; says what is wrong as `Problem`s.
"""

import re
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import cedarpy

from policy.engine import place_of
from policy.errors import Problem
from policy.narrowing import Narrowed
from policy.schema import Schema
from policy.scope import Scope
from policy.statements import Statement

CHUNK = 256
"""How many to add at once."""

_MANY = 16  # for fewer, a narrower schema costs more than it saves

SYNTAX_FIX = "see docs.cedarpolicy.com"

_FIX = "compare with the schema: `stockade policy show --schema`"
# By what the engine's message has in it.
_FIXES = {
    "optional attribute": "ask for it with `has` first: the schema has a `?` behind its name",
    "unrecognized action": "`stockade policy show --schema` has every action there is",
    "applicable action": "`stockade policy show --schema` has of which types each action is",
}


def problem_at(statement: Statement, code: str, message: str, fix: str) -> Problem:
    """A problem where the statement begins."""
    return Problem(statement.file, statement.line, code, message, fix)


class Examination:
    """One examination of many statements. Its thread lives as long as the `with` block.

    `valid` are texts of policies that the engine has found valid under this schema.
    """

    def __init__(self, schema: Schema, valid: Collection[str] = frozenset()) -> None:
        self._schema = schema
        self._valid = valid
        self._narrowed = Narrowed(schema)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy-examination")
        self._under_way: list[Future[list[Problem]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, statements: Sequence[tuple[Statement, Scope]]) -> None:
        """A few hundred more to look at."""
        new = [one for one in statements if one[0].text not in self._valid]
        if new:
            self._under_way.append(self._thread.submit(self._look, new))

    def _look(self, statements: Sequence[tuple[Statement, Scope]]) -> list[Problem]:
        """What is wrong with some; those of one action are asked about together, if many."""
        groups: dict[str, list[Statement]] = {}
        for statement, scope in statements:
            groups.setdefault(_action_of(scope), []).append(statement)
        rest, problems = list[Statement](), list[Problem]()
        for action, some in groups.items():
            narrow = self._narrowed.to(action) if action and len(some) >= _MANY else None
            if narrow is None or not _fit(some, narrow):
                rest += some
        for start in range(0, len(rest), CHUNK):
            problems += _examine(rest[start : start + CHUNK], self._schema)
        return problems

    def problems(self) -> list[Problem]:
        """What is wrong with all of them, when that is known."""
        return [problem for some in self._under_way for problem in some.result()]


def _action_of(scope: Scope) -> str:
    """The one action that a scope names; empty if it may be about others."""
    match scope.actions:
        case (("==", "Action", str(name)),):
            return name
    return ""


def _fit(statements: Sequence[Statement], schema: cedarpy.Schema) -> bool:
    """Whether the engine parses these, finds as many, and says yes to each under this schema."""
    text = "\n".join(statement.text for statement in statements)
    try:
        count = len(cedarpy.PolicySet.from_str(text, release_gil=True))
    except ValueError:
        return False
    return count == len(statements) and bool(
        cedarpy.validate_policies(text, schema, release_gil=True).validation_passed
    )


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
        fix = next((fix for words, fix in _FIXES.items() if words in message), _FIX)
        if place is not None and place < len(statements):
            problems.append(problem_at(statements[place], "POLICY_INVALID", message, fix))
        else:
            problems.append(Problem("", 0, "POLICY_INVALID", message, fix))
    if not result.validation_passed and not problems:
        problems.append(Problem("", 0, "POLICY_INVALID", "the set does not validate", "check it"))
    return problems
