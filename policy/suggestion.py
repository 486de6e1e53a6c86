"""The Cedar policy that would have answered an exact call without asking.

Trusted so that it permits that call and no other: the same caller, tool, tier, secrets and
arguments, each a literal. What policy cannot see exactly (the order of a list) makes no
suggestion. For an agent there are two permits, since policy asks about its device, too. Pure.
Leaves `SuggestionRefusedError`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import cedarpy

from policy.arguments import CedarType, RecordOf, Scalar, SetOf, Translation
from policy.literals import literal, reference
from policy.schema import Schema
from policy.values import EntityUid


class SuggestionRefusedError(Exception):
    """Why no policy is suggested."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class ExactScope:
    """The call that is to run unasked."""

    name: str
    subjects: tuple[EntityUid, ...]
    tool: str
    tool_digest: str
    tier: str
    secrets: tuple[EntityUid, ...]
    # As policy is told of them: `context.arguments`.
    arguments: Mapping[str, object] = field(repr=False)


def suggested(scope: ExactScope, translation: Translation, schema: Schema) -> str:
    """The text of it, validated against the schema."""
    text = "\n".join(_permit(scope, subject, translation) for subject in scope.subjects)
    try:
        result = cedarpy.validate_policies(text, schema.handle)
    except ValueError as error:
        raise SuggestionRefusedError(f"it makes no policy: {error}") from None
    if not result.validation_passed or result.errors:
        why = result.errors[0].error if result.errors else "it does not validate"
        raise SuggestionRefusedError(f"it makes no valid policy: {why}")
    return text


def names_of(scope: ExactScope) -> tuple[str, ...]:
    """The ids of its permits."""
    return tuple(_name(scope, subject) for subject in scope.subjects)


def _name(scope: ExactScope, subject: EntityUid) -> str:
    alone = len(scope.subjects) == 1
    return scope.name if alone else f"{scope.name}-{subject.type.lower()}"


def _permit(scope: ExactScope, subject: EntityUid, translation: Translation) -> str:
    conditions = " &&\n  ".join(_conditions(scope, translation))
    return (
        f"@id({literal(_name(scope, subject))})\n"
        f"permit (\n  principal == {reference(subject)},\n"
        f'  action == Action::"call_unattended",\n'
        f"  resource == {reference(EntityUid('Tool', scope.tool))}\n)\n"
        f"when {{\n  {conditions}\n}};\n"
    )


def _conditions(scope: ExactScope, translation: Translation) -> Iterator[str]:
    yield f"resource.digest == {literal(scope.tool_digest)}"
    yield f"context.tier == {literal(scope.tier)}"
    if scope.secrets:
        yield f"context.secrets == [{', '.join(map(reference, scope.secrets))}]"
    else:
        yield "context.secrets.isEmpty()"
    yield f"context.arguments has {literal(scope.tool)}"
    record = f"context.arguments[{literal(scope.tool)}]"
    yield from _exactly(record, translation.type, scope.arguments[scope.tool])


def _exactly(at: str, type_: CedarType, value: object) -> Iterator[str]:
    match type_, value:
        case RecordOf(), dict():
            yield from _record(at, type_, value)
        case SetOf(), list():
            if value:
                raise SuggestionRefusedError("policy does not see the order of a list")
            yield f"{at}.isEmpty()"
        case Scalar.BOOL, bool():
            yield at if value else f"!{at}"
        case Scalar.LONG, int():
            yield f"{at} == {value}"
        case Scalar.STRING, str():
            yield f"{at} == {literal(value)}"
        case _:
            raise SuggestionRefusedError("the tool takes other arguments now")


def _record(at: str, type_: RecordOf, value: Mapping[str, object]) -> Iterator[str]:
    for name, inner, required in type_.attributes:
        if name not in value:
            yield f"!({at} has {literal(name)})"
            continue
        if not required:
            yield f"{at} has {literal(name)}"
        yield from _exactly(f"{at}[{literal(name)}]", inner, value[name])
