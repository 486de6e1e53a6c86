"""What a set of policy files must be before it may decide anything. Pure; all or nothing.

Trusted to let through only files whose every statement is one policy that the engine parses and
validates strictly, under an id of its own, naming only entities that could exist. Finds as many
problems as it can in one go. Leaves `BundleError` only.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import cedarpy
import orjson

from policy.errors import BundleError, Problem, ScopeError
from policy.identifiers import is_valid_id
from policy.pace import LIGHT, Pause, no_pause, paced, taken
from policy.reading import Reading, read_json, read_plain
from policy.schema import Schema
from policy.scope import Scope
from policy.statements import PolicyRef, Statement, split
from policy.validation import CHUNK, SYNTAX_FIX, Examination, problem_at

MAX_FILES = 256
MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 16 * 1024 * 1024
MAX_POLICIES = 20_000

_CERTAINLY_SHALLOW = 96  # the engine's trees are at most 100 deep

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cedar")
# No "#": what a person writes can then never equal a generated "file#n".
_POLICY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A set that may decide: the nth text, place, scope, and what it looks at of the context."""

    texts: list[str] = field(repr=False)
    refs: tuple[PolicyRef, ...]
    scopes: list[Scope] = field(repr=False)
    context: list[frozenset[str] | None] = field(repr=False)


def admit(
    files: Mapping[str, str],
    schema: Schema,
    pause: Pause = no_pause,
    valid: Collection[str] = frozenset(),
) -> Admitted:
    """The policies of the files, or every problem found; `valid` are known to fit the schema."""
    if problems := _check_files(files):
        raise BundleError(tuple(problems))
    statements, problems = _split_all(files, pause)
    with Examination(schema, valid) as examination:
        readings: list[Reading | None] = []
        for start in range(0, len(statements), CHUNK):
            some = statements[start : start + CHUNK]
            read = [_read(statement, problems) for statement in paced(some, pause)]
            readable = zip(some, read, strict=True)
            examination.add([(one, reading.scope) for one, reading in readable if reading])
            readings += read
        refs = _name_all(statements, readings, problems, pause)
        problems += examination.problems()
    if problems:
        raise BundleError(tuple(sorted(problems, key=lambda p: (p.file, p.line))))
    admitted = Admitted([], refs, [], [])
    looked_at = zip(taken(statements), taken(readings), strict=True)
    for statement, reading in paced(looked_at, pause, LIGHT):
        if reading is not None:
            admitted.texts.append(statement.text)
            admitted.scopes.append(reading.scope)
            admitted.context.append(reading.context)
    return admitted


def _check_files(files: Mapping[str, str]) -> list[Problem]:
    if not files:
        return [
            Problem("", 0, "NO_POLICY_FILES", "there is no .cedar file", "add one; it may be empty")
        ]
    problems = [
        Problem(name, 0, "BAD_FILE_NAME", "not a policy file's name", "name it like owners.cedar")
        for name in files
        if not _FILE_NAME.fullmatch(name)
    ]
    sizes = {name: len(text.encode("utf-8", "surrogatepass")) for name, text in files.items()}
    too_large = [name for name, size in sizes.items() if size > MAX_FILE_BYTES]
    if len(files) > MAX_FILES or sum(sizes.values()) > MAX_TOTAL_BYTES:
        too_large.append("")
    limits = f"limits: {MAX_FILES} files, {MAX_FILE_BYTES} bytes each, {MAX_TOTAL_BYTES} in all"
    problems += [Problem(n, 0, "POLICY_TOO_LARGE", "too large", limits) for n in too_large]
    return problems


def _split_all(files: Mapping[str, str], pause: Pause) -> tuple[list[Statement], list[Problem]]:
    statements: list[Statement] = []
    problems: list[Problem] = []
    for name, text in files.items():
        found, wrong = split(name, text, pause)
        statements += found
        problems += wrong
    if len(statements) > MAX_POLICIES:
        limit = f"the limit is {MAX_POLICIES} policies"
        problems.append(Problem("", 0, "POLICY_TOO_LARGE", "too many policies", limit))
        return [], problems
    return statements, problems


def _read(statement: Statement, problems: list[Problem]) -> Reading | None:
    """What the statement says of itself; or a problem more."""
    try:
        reading = read_plain(statement.text) or _ask_engine(statement.text)
        if statement.weight > _CERTAINLY_SHALLOW:
            _require_tree(statement.text)
    except _NotAPolicyError as why:
        problems.append(problem_at(statement, why.code, why.message, why.fix))
        return None
    problems += [
        problem_at(
            statement,
            "ANNOTATION_TYPO",
            f"@{name} is nearly @id, and would name nothing",
            "write @id, or choose a name that is not so near to it",
        )
        for name in reading.annotations
        if name != "id" and _is_nearly_id(name)
    ]
    problems += [
        problem_at(
            statement,
            "IMPOSSIBLE_ID",
            # In ASCII: a letter of another script often looks like the one that was meant.
            f"nothing can be called {uid.type}::{uid.id!a}, so this would never match",
            "check case, white space, spelling, and letters that only look alike",
        )
        for uid in sorted(reading.uids, key=str)
        if not is_valid_id(uid)
    ]
    return reading


def _is_nearly_id(name: str) -> bool:
    """Within one letter of it, in whatever case: the one annotation that means something."""
    folded = name.casefold()
    one_less = {folded[:place] + folded[place + 1 :] for place in range(len(folded))}
    one_other = len(folded) == 2 and (folded[0] == "i" or folded[1] == "d")
    return folded in ("id", "di", "i", "d") or "id" in one_less or one_other


class _NotAPolicyError(Exception):
    """Why a statement is not one policy; never leaves this module."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        self.code, self.message, self.fix = code, message, fix


def _require_tree(text: str) -> None:
    """Whoever looks at conditions gets them from the engine as a tree, of bounded depth."""
    try:
        cedarpy.policies_to_pst(text)
    except ValueError as error:
        if "nesting" not in str(error):
            return  # it does not parse: that is found out, too
        fix = "split it; for many values write a set: [..].contains(x)"
        raise _NotAPolicyError("POLICY_TOO_COMPLEX", "its conditions nest too deep", fix) from None


def _ask_engine(text: str) -> Reading:
    """A statement that is not plain, as the engine reads it."""
    try:
        parsed = orjson.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise _NotAPolicyError("POLICY_SYNTAX", str(error), SYNTAX_FIX) from None
    if parsed["templates"]:
        raise _NotAPolicyError(
            "TEMPLATE_REFUSED",
            "a template decides nothing until something links it, and nothing here does",
            "write the principal or resource in place of ?principal or ?resource",
        )
    if len(parsed["staticPolicies"]) != 1:
        raise _NotAPolicyError("POLICY_SYNTAX", "not one policy", "split it at `;`")
    (policy,) = parsed["staticPolicies"].values()
    try:
        return read_json(policy, text)
    except ScopeError as error:
        raise _NotAPolicyError(error.code, str(error), error.fix) from None


def _name_all(
    statements: list[Statement],
    readings: list[Reading | None],
    problems: list[Problem],
    pause: Pause,
) -> tuple[PolicyRef, ...]:
    """Each policy's id: its @id, or its place in the file."""
    named: list[PolicyRef] = []
    places: dict[str, PolicyRef] = {}
    counts: dict[str, int] = {}
    for statement, reading in paced(zip(statements, readings, strict=True), pause, LIGHT):
        place = counts[statement.file] = counts.get(statement.file, 0) + 1
        written = reading.annotations.get("id") if reading else None
        ref = PolicyRef(
            f"{statement.file}#{place}" if written is None else written,
            statement.file,
            statement.line,
        )
        named.append(ref)
        if written is not None and not _POLICY_ID.fullmatch(written):
            fix = f"an id matches {_POLICY_ID.pattern}"
            problems.append(problem_at(statement, "BAD_POLICY_ID", f"@id({written!r:.80})", fix))
        elif ref.id in places:
            other = places[ref.id]
            message = f"the id {ref.id!r} is taken by {other.file}:{other.line}"
            problems.append(problem_at(statement, "DUPLICATE_ID", message, "give each its own @id"))
        places.setdefault(ref.id, ref)
    return tuple(named)
