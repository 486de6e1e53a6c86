"""Who is in whom, as the engine has it. Pure; raises nothing for what the engine has parsed."""

from collections.abc import Mapping

import cedarpy
import orjson

from policy.values import EntityUid, parse_uid


def ancestors(entities: cedarpy.Entities) -> Mapping[EntityUid, tuple[EntityUid, ...]]:
    """Every entity, and all that it is in: the engine writes the closure it works with."""
    return {
        parse_uid(one["uid"]): tuple(map(parse_uid, one["parents"]))
        for one in orjson.loads(str(entities))
    }
