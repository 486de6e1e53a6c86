"""Entities as they are kept with the decisions that were made with them."""

import pytest

from policy.bundle import Bundle
from policy.entity_data import EntityData, Join, Tag
from policy.entity_store import EntityStore
from policy.errors import EntityError
from policy.pdp import PDP
from policy.snapshot import parse_snapshot, take
from policy.values import EntityUid
from tests.policy.world import SCHEMA, ask_call, entities, uid

DATA = EntityData().changed(
    [
        Join(uid("Tool::run_shell"), EntityUid("Toolset", "mine")),
        Tag(uid("Tool::run_shell"), "reviewed", "yes"),
        Join(EntityUid("Group", "callers"), EntityUid("Group", "staff")),
    ]
)
TEXT = (
    'permit (principal in Group::"staff", action == Action::"call", resource in Toolset::"mine")'
    ' when { resource.hasTag("reviewed") && !resource.network };'
)


def test_what_was_kept_decides_as_it_did() -> None:
    """A store made of a snapshot gives the answers that the entities gave."""
    bundle = Bundle.build({"a.cedar": TEXT}, SCHEMA)
    described = list(DATA.describe(entities()))
    kept = parse_snapshot(take(described).content)
    stores = [EntityStore.build(one, bundle.schema) for one in (described, kept)]
    assert set(stores[0].entities) == set(stores[1].entities)
    for store in stores:
        point = PDP(bundle, store)
        assert ask_call(point, "Device::dev-callers", "call", "run_shell").allowed
        assert not ask_call(point, "Device::dev-callers", "call", "read_file").allowed
        assert not ask_call(point, "Device::dev-owners", "call", "run_shell").allowed


def test_the_digest_is_of_what_is_said() -> None:
    """The order in which entities are given does not matter, and everything of them does."""
    described = list(DATA.describe(entities()))
    first = take(described)
    assert take(reversed(described)) == first
    assert take(parse_snapshot(first.content)) == first
    others = [
        take(entities()),
        take(DATA.changed([Tag(uid("Tool::run_shell"), "reviewed", "no")]).describe(entities())),
        take(described[1:]),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 4


@pytest.mark.parametrize("content", [b"", b"nonsense", take(entities()).content[:-4]])
def test_what_is_damaged_is_refused(content: bytes) -> None:
    """Half a snapshot explains nothing."""
    with pytest.raises(EntityError) as caught:
        parse_snapshot(content)
    assert caught.value.code == "ENTITY_INVALID"
