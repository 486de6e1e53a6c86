"""The errors that leave this package; there are no others.

A denial is not among them: `policy.pdp.Decision` is a value. These are for inputs that can never
become a question, a schema, an entity or a policy set.
"""

import enum
from dataclasses import dataclass


class PolicyError(Exception):
    """Something given to this package was refused. `code` is stable, `fix` says what to do."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.fix = fix


class SchemaError(PolicyError):
    """A Cedar schema, or a tool's name in one, cannot be used."""


class EntityError(PolicyError):
    """An entity, its id, an attribute or a parent is not one that the schema allows."""


class ArgumentsError(PolicyError):
    """A call's arguments have no exact Cedar value. The call must not go on."""


class RiskError(PolicyError):
    """An input of the risk score, or a floor, is not a number from 0 to 1."""


class ScopeError(PolicyError):
    """A policy's scope is of a form that this release cannot place in an index."""


class WorkbenchError(PolicyError):
    """What was given to the workbench is not what Cedar takes."""


class SnapshotError(PolicyError):
    """A policy set and an entity store do not belong together."""


class Severity(enum.StrEnum):
    """An error keeps a set from being applied; a warning says that it may not do what is meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a policy set: where, which rule, and how to mend it."""

    file: str
    line: int
    code: str
    message: str
    fix: str
    severity: Severity = Severity.ERROR


class BundleError(PolicyError):
    """A policy set does not become a bundle. `problems` lists everything found, never empty."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        place = f"{first.file}:{first.line}" if first.file else "the policy set"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first.code, f"{place}: {first.message}{more}", first.fix)
        self.problems = problems
