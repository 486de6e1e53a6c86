"""What a set of policy files must be before it may decide anything. Pure; all or nothing.

Trusted to let through only files whose every statement is one policy that the engine parses and
validates strictly, under an id of its own, naming only entities that could exist. Finds as many
problems as it can in one go. Leaves `BundleError` only.
"""

import re
from collections.abc import Iterable, Mapping

import cedarpy
from cedarpy import pst

from policy.errors import BundleError, Problem
from policy.identifiers import is_valid_id
from policy.schema import Schema
from policy.statements import PolicyRef, Statement, split
from policy.values import EntityUid

MAX_FILES = 256
MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 16 * 1024 * 1024
MAX_POLICIES = 20_000

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cedar")
# No "#": what a person writes can then never equal a generated "file#n".
_POLICY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_POSITIONAL = re.compile(r"policy(\d+)")


def admit(
    files: Mapping[str, str], schema: Schema
) -> tuple[list[Statement], tuple[PolicyRef, ...]]:
    """The statements of the files and the name of each, or every problem found."""
    if problems := _check_files(files):
        raise BundleError(tuple(problems))
    statements, problems = _split_all(files)
    parsed = [_check_statement(statement, problems) for statement in statements]
    refs = _name_all(statements, parsed, problems)
    # Only text whose every statement parsed alone goes to the validator as a whole.
    if not problems:
        problems += _validate(statements, schema)
    if problems:
        raise BundleError(tuple(sorted(problems, key=lambda p: (p.file, p.line))))
    return statements, tuple(refs)


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


def _split_all(files: Mapping[str, str]) -> tuple[list[Statement], list[Problem]]:
    statements: list[Statement] = []
    problems: list[Problem] = []
    for name, text in files.items():
        found, wrong = split(name, text)
        statements += found
        problems += wrong
    if len(statements) > MAX_POLICIES:
        limit = f"the limit is {MAX_POLICIES} policies"
        problems.append(Problem("", 0, "POLICY_TOO_LARGE", "too many policies", limit))
        return [], problems
    return statements, problems


def _problem(statement: Statement, code: str, message: str, fix: str) -> Problem:
    return Problem(statement.file, statement.line, code, message, fix)


def _check_statement(statement: Statement, problems: list[Problem]) -> pst.Template | None:
    """The one policy that the statement is; or a problem more."""
    try:
        parsed = cedarpy.policies_to_pst(statement.text)
    except ValueError as error:
        problems.append(
            _problem(statement, "POLICY_SYNTAX", str(error), "see docs.cedarpolicy.com")
        )
        return None
    if parsed.templates:
        problems.append(
            _problem(
                statement,
                "TEMPLATE_REFUSED",
                "a template decides nothing until something links it, and nothing here does",
                "write the principal or resource in place of ?principal or ?resource",
            )
        )
        return None
    if len(parsed.static_policies) != 1:
        problems.append(_problem(statement, "POLICY_SYNTAX", "not one policy", "split it at `;`"))
        return None
    (policy,) = parsed.static_policies.values()
    problems += [
        _problem(
            statement,
            "IMPOSSIBLE_ID",
            f"nothing can be called {uid.type}::{uid.id!r}, so this would never match",
            "check case, white space and spelling",
        )
        for uid in _uids(policy)
        if not is_valid_id(uid)
    ]
    return policy


def _uids(policy: pst.Template) -> list[EntityUid]:
    found = {EntityUid(str(uid.type), uid.id) for uid in pst.entity_uids(policy)}
    return sorted(found, key=str)


def _name_all(
    statements: list[Statement], policies: Iterable[pst.Template | None], problems: list[Problem]
) -> list[PolicyRef]:
    """Each policy's id: its @id, or its place in the file."""
    named: list[PolicyRef] = []
    places: dict[str, PolicyRef] = {}
    counts: dict[str, int] = {}
    for statement, policy in zip(statements, policies, strict=True):
        place = counts[statement.file] = counts.get(statement.file, 0) + 1
        written = policy.annotations.get("id") if policy else None
        ref = PolicyRef(
            f"{statement.file}#{place}" if written is None else written,
            statement.file,
            statement.line,
        )
        named.append(ref)
        if written is not None and not _POLICY_ID.fullmatch(written):
            fix = f"an id matches {_POLICY_ID.pattern}"
            problems.append(_problem(statement, "BAD_POLICY_ID", f"@id({written!r:.80})", fix))
        elif ref.id in places:
            other = places[ref.id]
            message = f"the id {ref.id!r} is taken by {other.file}:{other.line}"
            problems.append(_problem(statement, "DUPLICATE_ID", message, "give each its own @id"))
        places.setdefault(ref.id, ref)
    return named


def join(statements: list[Statement]) -> str:
    """The text of all, in which the engine calls the nth `policyn`."""
    return "\n".join(statement.text for statement in statements)


def _validate(statements: list[Statement], schema: Schema) -> list[Problem]:
    """The engine's strict validation; its error names a policy by position."""
    result = cedarpy.validate_policies(join(statements), schema.handle)
    problems = []
    for error in result.errors:
        match = _POSITIONAL.fullmatch(error.policy_id)
        message = re.sub(r"^for policy `policy\d+`, ", "", error.error)
        fix = (
            "compare with the schema, `stockade policy show --schema`: "
            "an attribute with a `?` there needs a `has` before it"
        )
        if match and int(match[1]) < len(statements):
            place = statements[int(match[1])]
            problems.append(_problem(place, "POLICY_INVALID", message, fix))
        else:
            problems.append(Problem("", 0, "POLICY_INVALID", message, fix))
    if not result.validation_passed and not problems:
        problems.append(Problem("", 0, "POLICY_INVALID", "the set does not validate", "check it"))
    return problems
