"""The entities of a moment, as they are kept so that its decisions can be explained later.

Trusted so that equal entities make equal bytes, whoever gives them in whatever order: the digest of
a snapshot, in a receipt, says exactly what policy was told. Pure. `parse_snapshot` leaves
`EntityError` only.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from policy.entities import Entity
from policy.errors import EntityError
from policy.pace import LIGHT, Pause, no_pause, paced
from policy.values import CedarValue, EntityUid, parse_uid

MAX_BYTES = 256 * 1024 * 1024  # unpacked
_TAG = b"stockade entities v1\n"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Packed entities, and the digest of what they say."""

    digest: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptEntity:
    """An entity as it was."""

    uid: EntityUid
    parents: tuple[EntityUid, ...]
    attributes: Mapping[str, CedarValue]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, entity: Entity) -> "KeptEntity":
        """An entity as it is."""
        return cls(entity.uid, entity.parents, entity.attributes, entity.tags)


def take(entities: Iterable[Entity], pause: Pause = no_pause) -> Snapshot:
    """A snapshot of these."""
    state, packer = hashlib.sha256(_TAG), zlib.compressobj(1)
    packed: list[bytes] = []
    # One line at a time: one piece of the whole would keep other threads waiting.
    for entity in paced(sorted(entities, key=lambda one: one.uid), pause, LIGHT):
        line = _line(entity)
        state.update(line)
        packed.append(packer.compress(line))
    packed.append(packer.flush())
    return Snapshot(state.hexdigest(), b"".join(packed))


def parse_snapshot(content: bytes) -> tuple[KeptEntity, ...]:
    """The entities of a snapshot."""
    try:
        unpacker = zlib.decompressobj()
        lines = unpacker.decompress(content, MAX_BYTES)
        if not unpacker.eof:
            raise ValueError("too large, or cut off")
        return tuple(_entity(json.loads(line)) for line in lines.splitlines())
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise EntityError(
            "ENTITY_INVALID", f"not a snapshot: {type(error).__name__}", "restore a backup"
        ) from None


def _line(entity: Entity) -> bytes:
    document = {
        "uid": entity.uid.to_json(),
        "parents": sorted((parent.to_json() for parent in entity.parents), key=str),
        "attrs": entity.attributes,
        "tags": entity.tags,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _entity(document: Mapping[str, object]) -> KeptEntity:
    parents, attributes, tags = document["parents"], document["attrs"], document["tags"]
    if not isinstance(parents, list) or not isinstance(attributes, dict):
        raise TypeError("parents or attributes")
    if not isinstance(tags, dict):
        raise TypeError("tags")
    return KeptEntity(parse_uid(document["uid"]), tuple(map(parse_uid, parents)), attributes, tags)
