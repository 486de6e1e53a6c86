"""Whether a policy's conditions can be true, by the engine's own type checker.

The validator does not look at what comes after something that is false whatever the request: so a
policy to which a mistake of types is added, and which still validates, can never apply. Trusted to
say "never" and "always" only where the engine knows it, of every principal, resource and context
that the schema allows; silent where only values decide. Pure; raises nothing for valid policies.
"""

from collections.abc import Sequence

import cedarpy
import orjson

from policy.engine import place_of
from policy.schema import Schema

_MISTAKE = ' when { 1 + "a" == 2 };'


def never_apply(texts: Sequence[str], schema: Schema) -> set[int]:
    """Which of these valid policies, by place, apply to no request at all."""
    wrong = "\n".join(text.removesuffix(";") + _MISTAKE for text in texts)
    result = cedarpy.validate_policies(wrong, schema.handle, release_gil=True)
    return set(range(len(texts))) - {place_of(error.policy_id) for error in result.errors}


def always_applies(text: str, schema: Schema) -> bool:
    """Whether a valid policy applies to every request that its scope fits."""
    (policy,) = orjson.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values()
    if not policy["conditions"]:
        return True
    policy["conditions"] = [{"kind": "when", "body": _negated(policy["conditions"])}]
    policy.pop("annotations", None)
    whole = {"staticPolicies": {"policy0": policy}, "templates": {}, "templateLinks": []}
    negated = cedarpy.policies_from_json_str(orjson.dumps(whole).decode()).strip()
    return bool(never_apply([negated], schema))


def _negated(conditions: Sequence[dict[str, object]]) -> dict[str, object]:
    """That one of the conditions does not hold."""
    whole: dict[str, object] = {"Value": True}
    for condition in conditions:
        body = condition["body"]
        one = body if condition["kind"] == "when" else {"!": {"arg": body}}
        whole = {"&&": {"left": whole, "right": one}}
    return {"!": {"arg": whole}}
