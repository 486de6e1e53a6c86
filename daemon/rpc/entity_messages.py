"""Entity data between the wire and policy's own values."""

from collections.abc import Callable, Iterable

from daemon.errors import BadRequest
from policy.entity_data import Change, EntityData, Join, Leave, Tag, Untag
from policy.entity_rules import PARENT_TYPE
from policy.values import EntityUid
from stockade.v1 import policy_pb2


def parse_changes(sent: Iterable[policy_pb2.ChangeEntitiesRequest.Change]) -> list[Change]:
    """The changes in a request; BAD_REQUEST for one that is none."""
    return [_change(one) for one in sent]


def memberships(
    data: EntityData, exists: Callable[[EntityUid], bool]
) -> list[policy_pb2.Membership]:
    """What is in what, in order."""
    return [
        policy_pb2.Membership(child=entity(child), parent=entity(parent), exists=exists(child))
        for child in sorted(data.parents, key=str)
        for parent in sorted(data.parents[child], key=str)
    ]


def tags(data: EntityData, exists: Callable[[EntityUid], bool]) -> list[policy_pb2.Tag]:
    """What is tagged with what, in order."""
    return [
        policy_pb2.Tag(entity=entity(uid), key=key, value=own[key], exists=exists(uid))
        for uid, own in sorted(data.tags.items(), key=lambda one: str(one[0]))
        for key in sorted(own)
    ]


def entity(uid: EntityUid) -> policy_pb2.Entity:
    """An entity's name."""
    return policy_pb2.Entity(type=uid.type, id=uid.id)


def _change(sent: policy_pb2.ChangeEntitiesRequest.Change) -> Change:
    match sent.WhichOneof("change"):
        case "join":
            return Join(*_membership(sent.join))
        case "leave":
            return Leave(*_membership(sent.leave))
        case "tag":
            return Tag(_uid(sent.tag.entity), sent.tag.key, sent.tag.value)
        case "untag":
            return Untag(_uid(sent.untag.entity), sent.untag.key)
    raise BadRequest("a change that changes nothing", fix="update the client")


def _membership(sent: policy_pb2.Membership) -> tuple[EntityUid, EntityUid]:
    child, parent = _uid(sent.child), _uid(sent.parent)
    # Its type follows from the child's: a client need not say it.
    return child, EntityUid(parent.type or PARENT_TYPE.get(child.type, ""), parent.id)


def _uid(sent: policy_pb2.Entity) -> EntityUid:
    return EntityUid(sent.type, sent.id)
