"""One request put to the engine, and the engine's failures in one shape.

Trusted so that whatever goes wrong in the engine arrives as `EngineError`, which nobody can take
for a mistake in the question; but for text that is not Unicode, which is one. Leaves `EngineError`,
UnicodeError, and what is no `Exception`, such as a panic.
"""

from dataclasses import dataclass

import cedarpy

from policy.values import EntityUid


class EngineError(Exception):
    """The engine failed; its text is the name of the failure. Ends in a denial."""


@dataclass(frozen=True, slots=True)
class Result:
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
