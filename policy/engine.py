"""One request put to the engine, its failures in one shape, and what it calls policies.

Trusted so that whatever goes wrong in the engine arrives as `EngineError`, which nobody can take
for a mistake in the question; but for text that is not Unicode, which is one. Leaves `EngineError`,
UnicodeError, and what is no `Exception`, such as a panic.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import cedarpy

from policy.values import EntityUid

_POSITIONAL = re.compile(r"policy([0-9]+)")
_IN_ERROR = re.compile(r"error while evaluating policy `(policy[0-9]+)`")


class EngineError(Exception):
    """The engine failed; its text is the name of the failure. Ends in a denial."""


class Result(NamedTuple):
    """What the engine says. Policies are called as in the set that was given."""

    decision: cedarpy.Decision
    reasons: list[str]
    errors: list[str]


def ask(
    principal: EntityUid,
    action: str,
    resource: EntityUid,
    context: str,
    policies: cedarpy.PolicySet,
    entities: cedarpy.Entities,
    schema: cedarpy.Schema | None,
) -> Result:
    """The engine's answer; `context` is JSON."""
    request = {
        "principal": {"type": principal.type, "id": principal.id},
        "action": {"type": "Action", "id": action},
        "resource": {"type": resource.type, "id": resource.id},
        "context": context,
    }
    try:
        result = cedarpy.is_authorized(request, policies, entities, schema)
        diagnostics = result.diagnostics
        return Result(result.decision, diagnostics.reasons, diagnostics.errors)
    except UnicodeError:
        raise
    except Exception as error:
        raise EngineError(type(error).__name__) from error


def name_at(place: int) -> str:
    """What the engine calls the policy at this place of a text, the first being at 0."""
    return f"policy{place}"


def place_of(name: str) -> int | None:
    """Where the policy is that the engine calls so; None if it is no such name."""
    match = _POSITIONAL.fullmatch(name)
    return None if match is None else int(match[1])


def in_error(message: str) -> str | None:
    """The engine's name of the policy that one of its errors is about."""
    match = _IN_ERROR.search(message)
    return None if match is None else match[1]


def renamed(message: str, name: Callable[[str], str]) -> str:
    """One of its errors, with another name for the policy in place of the engine's."""
    return _IN_ERROR.sub(
        lambda match: f"error while evaluating policy `{name(match[1])}`", message, count=1
    )
