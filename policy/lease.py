"""A lease as the Cedar permit that it is.

Trusted so that the permit covers what the lease says and nothing else: every name and value becomes
a literal that cannot end early or turn into a pattern, every argument that the lease does not name
must be absent, and text that the engine does not validate strictly is refused. An opaque argument
record can only be matched whole, by its digest. Pure. Leaves `LeaseRefusedError`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import cedarpy

from policy.arguments import Kind, RecordOf, Scalar, SetOf, Translation
from policy.literals import in_pattern, literal, reference
from policy.schema import Schema
from policy.statements import PolicyRef
from policy.values import EntityUid, datetime_text


class LeaseRefusedError(Exception):
    """What the lease asks for cannot be said in Cedar exactly."""

    def __init__(self, message: str, fix: str = "give the lease for the exact call") -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


@dataclass(frozen=True, slots=True)
class Permit:
    """One more policy for one question."""

    ref: PolicyRef
    text: str = field(repr=False)
    handle: cedarpy.PolicySet = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LeaseScope:
    """What a lease is bounded by."""

    lease_id: str
    # Whose questions it answers: the caller's, and for an agent its device's about that call.
    subjects: tuple[EntityUid, ...]
    tool: str
    tool_digest: str
    tier: str
    secrets: tuple[EntityUid, ...]
    expires_ms: int
    # SHA-256 of the canonical arguments, hex; or a bound for each argument.
    exactly: str | None
    bounds: Mapping[str, Mapping[str, Any]] | None
    # The lease that it was narrowed from: the permit has that one's limits as well as its own.
    within: "LeaseScope | None" = None


def permits(scope: LeaseScope, translation: Translation, schema: Schema) -> tuple[Permit, ...]:
    """A permit for each of its subjects, validated against the schema."""
    return tuple(_permit(scope, subject, translation, schema) for subject in scope.subjects)


def text_of(scope: LeaseScope, subject: EntityUid, translation: Translation) -> str:
    """The permit as Cedar's text."""
    conditions = " &&\n  ".join(_conditions(scope, translation))
    return (
        f"@id({literal(name_of(scope.lease_id))})\n"
        f"permit (\n  principal == {reference(subject)},\n"
        f'  action == Action::"call_unattended",\n'
        f"  resource == {reference(EntityUid('Tool', scope.tool))}\n)\n"
        f"when {{\n  {conditions}\n}};\n"
    )


def name_of(lease_id: str) -> str:
    """The permit's id in reasons and receipts."""
    return f"lease:{lease_id}"


def _permit(
    scope: LeaseScope, subject: EntityUid, translation: Translation, schema: Schema
) -> Permit:
    text = text_of(scope, subject, translation)
    try:
        handle = cedarpy.PolicySet.from_str(text)
        result = cedarpy.validate_policies(text, schema.handle)
    except ValueError as error:
        raise LeaseRefusedError(f"it makes no policy: {error}") from None
    if not result.validation_passed or result.errors or len(handle) != 1:
        why = result.errors[0].error if result.errors else "it does not validate"
        raise LeaseRefusedError(f"it makes no valid policy: {why}")
    return Permit(PolicyRef(name_of(scope.lease_id), "leases", 1), text, handle)


def _conditions(scope: LeaseScope, translation: Translation) -> Iterator[str]:
    yield f"context has lease && context.lease == {literal(scope.lease_id)}"
    yield from _limits(scope, translation)
    if scope.within is not None:
        yield from _limits(scope.within, translation)


def _limits(scope: LeaseScope, translation: Translation) -> Iterator[str]:
    yield f"resource.digest == {literal(scope.tool_digest)}"
    yield f"context.tier == {literal(scope.tier)}"
    yield f"context.time < {_moment(scope.expires_ms)}"
    if scope.secrets:
        yield f"context.secrets == [{', '.join(reference(one) for one in scope.secrets)}]"
    else:
        yield "context.secrets.isEmpty()"
    if scope.exactly is not None:
        yield "context has arguments_digest"
        yield f"context.arguments_digest == {literal(scope.exactly)}"
        return
    if translation.kind is Kind.OPAQUE:
        raise LeaseRefusedError("the tool's arguments reach policy as one text, without parts")
    yield f"context.arguments has {literal(scope.tool)}"
    record = f"context.arguments[{literal(scope.tool)}]"
    yield from _record(record, translation.type, dict(scope.bounds or {}))


def _record(record: str, type_: RecordOf, bounds: dict[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, inner, required in type_.attributes:
        bound = bounds.pop(name, None)
        if bound is None:
            if required:
                raise LeaseRefusedError(
                    f"the tool needs {name}, and the lease does not bound it",
                    "bound every argument that the tool needs",
                )
            yield f"!({record} has {literal(name)})"
            continue
        value = f"{record}[{literal(name)}]"
        condition = _bounded(name, value, inner, bound)
        # Not "or": the validator knows of an optional attribute only behind its own `has`.
        optional = f"(if {record} has {literal(name)} then {condition} else true)"
        yield condition if required else optional
    if bounds:
        raise LeaseRefusedError(
            f"the tool has no argument {next(iter(bounds))}", "`stockade tools show` has them"
        )


def _bounded(
    name: str, value: str, inner: Scalar | SetOf | RecordOf, bound: Mapping[str, Any]
) -> str:
    match dict(bound):
        case {"any": True}:
            return "true"
        case {"is": bool() as wanted} if inner is Scalar.BOOL:
            return f"{value} == {str(wanted).lower()}"
        case {"is": str() as wanted} if inner is Scalar.STRING:
            return f"{value} == {literal(wanted)}"
        case {"is": int() as wanted} if inner is Scalar.LONG and not isinstance(wanted, bool):
            return f"{value} == {wanted}"
        case {"one_of": list() as choices} if inner is Scalar.STRING:
            return f"[{', '.join(literal(one) for one in choices)}].contains({value})"
        case {"from": int() as low, "to": int() as high} if inner is Scalar.LONG:
            return f"({value} >= {low} && {value} <= {high})"
        case {"below": str() as path} if inner is Scalar.STRING:
            return _below(value, path)
    raise LeaseRefusedError(
        f"that bound does not fit the type of {name}", "an array or object only takes `any`"
    )


def _below(value: str, path: str) -> str:
    """The path, or one below it: a part of it at a time, so that "a/b" is no prefix of "a/bc"."""
    inside = f'{value} like "{in_pattern(path)}/*"'
    # What climbs out again is not below it, however it begins.
    climbs = f'{value} like "*/../*" || {value} like "*/.."'
    return f"({value} == {literal(path)} || ({inside} && !({climbs})))"


def _moment(milliseconds: int) -> str:
    try:
        text = datetime_text(datetime.fromtimestamp(milliseconds / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        raise LeaseRefusedError("it ends at no time of any calendar", "end it sooner") from None
    return f'datetime("{text}")'
