"""A policy set in Cedar's own JSON: read for the index, and compiled from in slices.

The form in which templates come with their links, and in which the engine can write down any policy
that it can read. Trusted to put into a slice exactly the policies asked for, each linked policy
with its template. Pure; leaves `ScopeError` and `WorkbenchError`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from policy.engine import name_at
from policy.errors import WorkbenchError
from policy.scope import Links, Scope, read_scope
from policy.slices import Numbers
from policy.values import parse_uid

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JsonPolicy:
    """One policy that decides: a static one, or one that was linked from a template."""

    name: str
    body: Json
    links: Links | None = None
    template: str = ""

    @property
    def scope(self) -> Scope:
        """Its scope, with slots filled."""
        return read_scope(self.body, self.links)


def read_json_set(text: str) -> tuple[JsonPolicy, ...]:
    """The policies of a set; templates that nothing links decide nothing and are left out."""
    try:
        decoded = json.loads(text)
        return (*_static(decoded), *_linked(decoded))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WorkbenchError(
            "BAD_POLICY_JSON",
            f"not a policy set in Cedar's JSON ({type(error).__name__})",
            "give staticPolicies, templates and templateLinks, as `cedar translate-policy` writes",
        ) from None


def _static(decoded: Json) -> Iterator[JsonPolicy]:
    for name, body in decoded.get("staticPolicies", {}).items():
        yield JsonPolicy(name, body)


def _linked(decoded: Json) -> Iterator[JsonPolicy]:
    for link in decoded.get("templateLinks", ()):
        values = {
            slot: parse_uid(value.get("__entity", value)) for slot, value in link["values"].items()
        }
        body = decoded["templates"][link["templateId"]]
        yield JsonPolicy(link["newId"], body, values, link["templateId"])


class JsonSource:
    """See `policy.slices.Source`."""

    def __init__(self, policies: tuple[JsonPolicy, ...]) -> None:
        self._policies = policies

    def compile(self, numbers: Numbers) -> cedarpy.PolicySet:
        """These policies, called by their places among these."""
        static, templates, links = {}, {}, []
        for place, policy in enumerate(self._policies[number] for number in numbers):
            name = name_at(place)
            if policy.links is None:
                static[name] = policy.body
                continue
            # Not by its own name, which could be one of ours.
            template = f"template:{policy.template}"
            templates[template] = policy.body
            values = {slot: uid.to_json() for slot, uid in policy.links.items()}
            links.append({"templateId": template, "newId": name, "values": values})
        whole = {"staticPolicies": static, "templates": templates, "templateLinks": links}
        return cedarpy.PolicySet.from_json_str(json.dumps(whole))

    def extend(self, base: cedarpy.PolicySet, of: Numbers, more: Numbers) -> cedarpy.PolicySet:  # noqa: ARG002 - the protocol's
        """The engine adds only text to a set: this parses all of it again."""
        return self.compile(of + more)
