"""The engine asked about a whole set, with nothing of ours in between: what we must agree with."""

import json
import re

import cedarpy

from policy.workbench import Answer, Request

_NAMED = re.compile(r"error while evaluating policy `([^`]*)`")


class Reference:
    """A whole set, entities and perhaps a schema."""

    def __init__(
        self, policies: cedarpy.PolicySet, entities: str, schema: str | None = None
    ) -> None:
        self._policies = policies
        self._schema = None if schema is None else cedarpy.Schema.from_str(schema)
        self._entities = cedarpy.Entities.from_json_str(entities, self._schema)

    def answer(self, request: Request) -> Answer:
        asked = {
            "principal": request.principal.to_json(),
            "action": request.action.to_json(),
            "resource": request.resource.to_json(),
            "context": json.dumps(request.context),
        }
        result = cedarpy.is_authorized(asked, self._policies, self._entities, self._schema)
        errors = result.diagnostics.errors
        if result.decision is cedarpy.Decision.NoDecision:
            return Answer("none", messages=tuple(errors))
        return Answer(
            result.decision.value.lower(),
            tuple(sorted(result.diagnostics.reasons)),
            tuple(sorted(name for text in errors for name in _NAMED.findall(text)[:1])),
            tuple(sorted(errors)),
        )
