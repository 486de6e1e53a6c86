"""Policy tests: TOML files of requests and the answers expected. Strict: a typo must not pass.

Every key is declared here; docs/policies.md explains them. What is wrong leaves as `Problem`s with
file and line, like what is wrong with a policy; nothing is raised.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from policy.errors import Problem

MAX_FILES = 64
MAX_FILE_BYTES = 1024 * 1024
MAX_TESTS = 5000

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*test[ \t]*\]\]", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,110}\.test\.toml")
_FORM = "docs/policies.md has the form of test files"

Groups = list[str]
Person = Annotated[str, Field(pattern=r"^(device|agent)/.+$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Request(_Table):
    """One `[[test]]`."""

    name: str = Field(min_length=1, max_length=200)
    # Who asks: a device in exactly these groups, or an agent of one; or one there is.
    groups: Groups | None = None
    agent: bool = False
    by: Person | None = None
    # What: a call, or an administrative act.
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    action: str | None = None
    # In which circumstances.
    time: datetime | None = None
    maintenance: bool | None = None
    origin: str = ""
    approved_by: list[Groups | Person] | None = None
    # Seconds since they were asked.
    waited: int = Field(default=0, ge=0)
    # And the answer.
    expect: Literal["unattended", "asked", "approved", "denied", "permitted"]
    tier: Literal["process", "container", "gvisor"] | None = None
    code: str | None = None
    policies: list[str] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.groups is None) == (self.by is None):
            raise ValueError("needs `groups` or `by`, one of them")
        if (self.tool is None) == (self.action is None):
            raise ValueError("needs `tool` or `action`, one of them")
        of_acts = {"permitted", "denied"}
        of_calls = {"asked", "denied", "unattended" if self.approved_by is None else "approved"}
        allowed = of_calls if self.tool is not None else of_acts
        if self.expect not in allowed:
            raise ValueError(f"`expect` is one of {', '.join(sorted(allowed))} here")
        given = (self.arguments, self.approved_by, self.tier, self.waited or None)
        if self.action is not None and any(one is not None for one in given):
            named = "`arguments`, `approved_by`, `waited` and `tier`"
            raise ValueError(f"{named} are of calls, not of acts")
        if self.agent and self.groups is None:
            raise ValueError('`agent` is for `groups`; name an agent as by = "agent/NAME"')
        return self


class Expectations(_Table):
    """The whole file."""

    # Workspaces that there need not be, with the access that they would have.
    workspaces: dict[str, Literal["read", "write"]] = {}
    test: list[Request] = []


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A test, and where it stands."""

    file: str
    line: int
    request: Request
    workspaces: Mapping[str, str]


def parse_tests(files: Sequence[tuple[str, str]]) -> tuple[list[PolicyTest], list[Problem]]:
    """The tests of the files, or what is wrong with them."""
    found: list[PolicyTest] = []
    problems: list[Problem] = []
    if len(files) > MAX_FILES:
        fix = f"at most {MAX_FILES}"
        return [], [Problem("", 0, "TESTS_INVALID", "too many test files", fix)]
    for name, text in files:
        if not _NAME.fullmatch(name) or len(text) > MAX_FILE_BYTES:
            fix = f"name it like mine.test.toml; at most {MAX_FILE_BYTES} bytes"
            problems.append(Problem(name, 0, "TESTS_INVALID", "not a file of tests", fix))
            continue
        tests, wrong = _parse(name, text)
        found += tests
        problems += wrong
    if len(found) > MAX_TESTS:
        problems.append(Problem("", 0, "TESTS_INVALID", "too many tests", f"at most {MAX_TESTS}"))
    return found, problems


def _parse(name: str, text: str) -> tuple[list[PolicyTest], list[Problem]]:
    try:
        document = tomllib.loads(text)
        parsed = Expectations.model_validate(document)
    except ValidationError as error:
        lines = _lines(text)
        return [], [_problem(name, lines, dict(one)) for one in error.errors(include_url=False)]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"at line ([0-9]+)", str(error))
        line = int(found[1]) if found else 0
        return [], [Problem(name, line, "TESTS_INVALID", f"not TOML: {error}"[:300], _FORM)]
    lines = _lines(text)
    return [
        PolicyTest(name, _line(lines, number), request, parsed.workspaces)
        for number, request in enumerate(parsed.test)
    ], []


def _lines(text: str) -> list[int]:
    return [text.count("\n", 0, match.start()) + 1 for match in _HEADER.finditer(text)]


def _line(lines: Sequence[int], number: int) -> int:
    return lines[number] if number < len(lines) else 0


def _problem(file: str, lines: Sequence[int], problem: Mapping[str, Any]) -> Problem:
    location = problem["loc"]
    line = _line(lines, location[1]) if len(location) > 1 and location[0] == "test" else 0
    key = ".".join(str(part) for part in location if not isinstance(part, int))
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such key"
    return Problem(file, line, "TESTS_INVALID", f"{key}: {message}", _FORM)
