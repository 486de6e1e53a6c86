"""Which requests fit the schema: the engine's word, asked for once per form.

Trusted so that no request is evaluated that the engine would refuse under the schema: an action
that does not exist, a principal or resource of the wrong type, an attribute that is missing,
unknown or of another type. What the engine checks depends on types and names alone, so its yes to
one request holds for every other of that form (`policy.context`). Only a yes is kept. With a
thousand tools the engine's check takes half a millisecond; remembering takes half a microsecond.
Leaves what `policy.engine` does.
"""

from collections.abc import Hashable

import cedarpy
import orjson

from policy.bounded import Bounded
from policy.context import Context
from policy.engine import ask
from policy.schema import Schema
from policy.values import EntityUid

MAX_FORMS = 16_384

_NO_POLICIES = cedarpy.PolicySet.from_str("")
_NO_ENTITIES = cedarpy.Entities.from_json_str("[]")


class Requests:
    """The requests of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._fit: Bounded[Hashable, bool] = Bounded(MAX_FORMS, lambda _: 1)

    def misfit(
        self, principal: EntityUid, action: str, resource: EntityUid, context: Context
    ) -> str | None:
        """What keeps the request from fitting the schema; None if it fits."""
        form = (principal.type, action, resource.type, context.reading.form)
        if self._fit.get(form):
            return None
        text = orjson.dumps(context.values_by_name).decode()
        schema = self._schema.handle
        result = ask(principal, action, resource, text, _NO_POLICIES, _NO_ENTITIES, schema)
        if result.decision is cedarpy.Decision.NoDecision:
            return "; ".join(result.errors)
        self._fit.put(form, True)
        return None
