"""Cedar on the bench: any policies, entities and requests, through the index that the daemon uses.

For operators who try something out, and for the proof that index and slices change no answer.
Trusted to answer as the engine answers on the whole set: the same decision, reasons and errors,
under the engine's names. None of the daemon's own rules apply. Pure; leaves `PolicyError` and its
children for text that the engine does not take.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import cedarpy
import orjson

from policy.engine import in_error, name_at, renamed
from policy.errors import WorkbenchError
from policy.hierarchy import ancestors
from policy.json_set import JsonSource, read_json_set
from policy.nesting import MAX_ANCESTRY, entities_too_deep, policies_too_deep
from policy.reading import read_plain
from policy.schema import Schema, parse_schema
from policy.scope import NOWHERE, Key, Scope, keys_of, keys_of_action, read_scope
from policy.slices import PolicySlice, Slices, TextSource
from policy.statements import split
from policy.values import EntityUid

_DECISIONS = {cedarpy.Decision.Allow: "allow", cedarpy.Decision.Deny: "deny"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `context` is Cedar's JSON."""

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    context: Mapping[str, object]
    validate: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says. `decision` is "allow", "deny", or "none" if it could not be asked."""

    decision: str
    reasons: tuple[str, ...] = ()
    """The policies that determined it, by name."""
    errors: tuple[str, ...] = ()
    """The policies that could not be evaluated, by name."""
    messages: tuple[str, ...] = field(default=(), compare=False)
    """The engine's words on each error, or on why it could not be asked."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What is asked: by their names, sliced."""

    names: tuple[str, ...]
    slices: Slices

    @classmethod
    def from_cedar(cls, text: str) -> Self:
        """Policies as text. A template among them decides nothing, because nothing links it."""
        if policies_too_deep(text):
            what = "a policy is nested deeper, or has more operators, than the engine can bear"
            raise WorkbenchError("BAD_POLICIES", what, "split it; write a set for many values")
        try:
            cedarpy.PolicySet.from_str(text)
            statements, problems = split("policies", text)
            if problems:
                # The daemon would not take it; the engine can still write it down.
                return cls.from_json(cedarpy.policies_to_json_str(text))
        except ValueError as error:
            raise _refused("BAD_POLICIES", "the policies do not parse", error) from None
        texts = [statement.text for statement in statements]
        names = tuple(map(name_at, range(len(texts))))
        return cls(names, Slices(map(_scope, texts), TextSource(texts)))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Policies, templates and links in Cedar's JSON."""
        try:
            cedarpy.PolicySet.from_json_str(text)
        except ValueError as error:
            raise _refused("BAD_POLICIES", "the policies do not parse", error) from None
        policies = read_json_set(text)
        slices = Slices((policy.scope for policy in policies), JsonSource(policies))
        return cls(tuple(policy.name for policy in policies), slices)


def _scope(text: str) -> Scope:
    if reading := read_plain(text):
        return reading.scope
    for policy in orjson.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values():
        return read_scope(policy)
    return NOWHERE


class Workbench:
    """Policies, entities and perhaps a schema, to be asked about."""

    def __init__(self, policies: Policies, entities: str, schema: str | None = None) -> None:
        self._policies = policies
        self._schema: Schema | None = parse_schema(schema) if schema is not None else None
        handle = self._schema.handle if self._schema else None
        if entities_too_deep(entities):
            what = f"entities are in one another over more than {MAX_ANCESTRY} levels"
            raise WorkbenchError("BAD_ENTITIES", what, "put them into fewer")
        try:
            self._entities = cedarpy.Entities.from_json_str(entities, handle)
        except ValueError as error:
            raise _refused("BAD_ENTITIES", "the entities do not fit", error) from None
        self._ancestors = ancestors(self._entities)

    def answer(self, request: Request) -> Answer:
        """The engine's answer from the slice that can matter."""
        action = keys_of_action(request.action, self._ancestors.get(request.action, ()))
        principal, resource = self._keys(request.principal), self._keys(request.resource)
        return self._ask(request, self._policies.slices.find(principal, action, resource))

    def _keys(self, uid: EntityUid) -> tuple[Key, ...]:
        return keys_of(uid, self._ancestors.get(uid, ()))

    def _ask(self, request: Request, policies: PolicySlice) -> Answer:
        schema = self._schema.handle if self._schema and request.validate else None
        asked = {
            "principal": request.principal.to_json(),
            "action": request.action.to_json(),
            "resource": request.resource.to_json(),
            "context": json.dumps(request.context),
        }
        result = cedarpy.is_authorized(asked, policies.handle, self._entities, schema)
        errors = result.diagnostics.errors
        decision = _DECISIONS.get(result.decision)
        if decision is None:
            return Answer("none", messages=tuple(errors))
        failed = [name for name in map(in_error, errors) if name]
        reasons = self._named(result.diagnostics.reasons, policies)
        messages = (self._with_name(text, policies) for text in errors)
        return Answer(decision, reasons, self._named(failed, policies), tuple(sorted(messages)))

    def _named(self, engine_ids: Iterable[str], policies: PolicySlice) -> tuple[str, ...]:
        return tuple(sorted(self._name(name, policies) for name in engine_ids))

    def _with_name(self, text: str, policies: PolicySlice) -> str:
        return renamed(text, lambda name: self._name(name, policies))

    def _name(self, engine_id: str, policies: PolicySlice) -> str:
        return self._policies.names[policies.number(engine_id)]


def _refused(code: str, what: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(code, f"{what}: {error}", "mend the file; see docs.cedarpolicy.com")
