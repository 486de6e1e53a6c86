"""What may exist, and under which names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.entities import (
    AgentEntity,
    CallEntity,
    DeviceEntity,
    Entity,
    GroupEntity,
    HostEntity,
    SecretEntity,
    ToolEntity,
    ToolsetEntity,
    WorkspaceEntity,
)
from policy.entity_store import EntityStore
from policy.errors import EntityError, RiskError
from policy.identifiers import is_valid_id
from policy.schema import load_base, parse_schema
from policy.values import CedarValue, EntityUid, datetime_value, decimal_value
from tests.policy.world import tool

SCHEMA = parse_schema(load_base())


def build(*entities: Entity) -> EntityStore:
    return EntityStore.build(entities, SCHEMA)


def test_every_kind_of_entity_fits_the_schema() -> None:
    """Each builder makes what the schema allows; memberships make groups and toolsets known."""
    store = build(
        GroupEntity("owners"),
        ToolsetEntity("mine"),
        DeviceEntity("d", "laptop", ("callers",)),
        AgentEntity("a", "bot", "d", ("bots",), "ab" * 32),
        ToolEntity("t", "ab", "local", Decimal("0.1"), True, False, True, ("mine",)),
        WorkspaceEntity("docs", True),
        SecretEntity("global", "key"),
        SecretEntity("device/d", "key"),
        HostEntity("example.com"),
    )
    names = {str(uid) for uid in store.entities}
    assert {'Group::"callers"', 'Group::"bots"', 'Toolset::"local"'} <= names
    assert 'Daemon::"stockade"' in names
    call = CallEntity("01900000-0000-7000-8000-000000000001", "d", "t", "a")
    more: list[Entity] = [call, HostEntity("b.c")]
    added = store.with_added(more)
    assert all(one.uid in added and one.uid not in store for one in more)


@pytest.mark.parametrize(
    "entity",
    [
        DeviceEntity("", "x"),
        DeviceEntity("A", "x"),
        DeviceEntity("a b", "x"),
        DeviceEntity("d", "x", ("Owners",)),
        DeviceEntity("d", "x", ("owners ",)),
        tool("Run_Shell", "local", "0.1", writes=False, network=False),
        tool("r\u0435ad", "local", "0.1", writes=False, network=False),
        tool("a" * 64, "local", "0.1", writes=False, network=False),
        WorkspaceEntity("../etc", True),
        SecretEntity("a/b", "c"),
        SecretEntity("a", "b"),
        SecretEntity("global", ""),
        SecretEntity("global", "KEY"),
        SecretEntity("device/a", "a..b"),
        SecretEntity("device/..", "b"),
        CallEntity("1", "d", "t"),
        CallEntity("01900000-0000-7000-8000-00000000000A", "d", "t"),
    ],
)
def test_ids_outside_the_grammar_are_refused(entity: Entity) -> None:
    """An id that differs in case, script or white space is no id."""
    with pytest.raises(EntityError) as caught:
        build(entity)
    assert caught.value.code == "BAD_ID"


@pytest.mark.parametrize(
    "host",
    [
        *("Example.com", "example.com.", "exa mple.com", "", ".", "a..b", "-a.com", "a-.com"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.01", "1.2.3.4.", "0x7f.1"),
        *(
            "::ffff:127.0.0.1%eth0",
            "0:0:0:0:0:0:0:1",
            "::1%1",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "[::1]",
            "FE80::1",
            "a:80",
        ),
        *("exämple.com", "a\x00.com", "a%00.com", "a." * 127 + "com", "a" * 64 + ".com"),
    ],
)
def test_a_host_has_one_spelling(host: str) -> None:
    """Other spellings of a name or an address would be a way around a forbid."""
    assert not is_valid_id(EntityUid("Host", host))


@pytest.mark.parametrize("host", ["example.com", "a", "x1.y-z.io", "127.0.0.1", "::1", "fe80::1"])
def test_canonical_hosts(host: str) -> None:
    """Plain names and canonical addresses are ids."""
    assert is_valid_id(EntityUid("Host", host))


@given(st.text(), st.text())
def test_any_text_is_judged(kind: str, name: str) -> None:
    """No text raises; a type that does not exist has no ids."""
    assert not is_valid_id(EntityUid(kind + "?", name))
    assert is_valid_id(EntityUid("Daemon", name)) == (name == "stockade")
    is_valid_id(EntityUid("Host", name))


def test_a_local_tool_cannot_join_the_built_in_ones() -> None:
    """The toolsets of provenance are given, never claimed."""
    with pytest.raises(EntityError) as caught:
        ToolEntity("t", "ab", "local", Decimal(0), False, False, False, ("builtin",))
    assert caught.value.code == "RESERVED_TOOLSET"
    with pytest.raises(EntityError):
        ToolEntity("t", "ab", "Builtin", Decimal(0), False, False, False)


def test_an_entity_twice_is_refused() -> None:
    """Two descriptions of one thing: neither is taken."""
    with pytest.raises(EntityError) as caught:
        build(WorkspaceEntity("docs", True), WorkspaceEntity("docs", False))
    assert caught.value.code == "DUPLICATE_ENTITY"


def test_attributes_of_the_wrong_type_are_refused() -> None:
    """The schema is applied to entities, too."""
    with pytest.raises(EntityError):
        build(WorkspaceEntity("docs", "yes"))  # type: ignore[arg-type] # the point of the test
    with pytest.raises(EntityError):
        build(DeviceEntity("d", "\ud800"))
    with pytest.raises(RiskError):
        build(tool("t", "local", "NaN", writes=False, network=False))


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_decimal_is_exact_or_refused(value: Decimal) -> None:
    """Nothing is rounded on the way to Cedar."""
    try:
        result = decimal_value(value)
    except EntityError:
        return
    escape = result["__extn"]
    assert isinstance(escape, dict)
    assert Decimal(escape["arg"]) == value


def test_times_are_utc_milliseconds() -> None:
    """A time has a zone, and is the same moment in Cedar."""
    east = timezone(timedelta(hours=5, minutes=30))
    value = datetime_value(datetime(2026, 11, 20, 15, 30, 0, 123_999, tzinfo=east))
    assert value == {"__extn": {"fn": "datetime", "arg": "2026-11-20T10:00:00.123Z"}}
    with pytest.raises(EntityError):
        datetime_value(datetime(2026, 11, 20))  # noqa: DTZ001 - the point of the test
    with pytest.raises(EntityError):
        datetime_value(datetime.min.replace(tzinfo=east))


def test_the_order_of_entities_does_not_matter() -> None:
    """An agent given before its device, far apart in a large store, is in its device's groups."""
    others = [DeviceEntity(f"d{number}", "laptop", ("others",)) for number in range(1500)]
    agents = [AgentEntity("a", "bot", "last"), AgentEntity("lost", "bot", "gone")]
    store = build(*agents, *others, DeviceEntity("last", "laptop", ("callers",)))
    assert len([uid for uid in store.entities if uid.type == "Device"]) == 1501
    assert store.orphans == (EntityUid("Agent", "lost"),)
    for agent, group, answer in (("a", "callers", "Allow"), ("a", "others", "Deny")):
        asked = {
            "principal": EntityUid("Agent", agent).to_json(),
            "action": {"type": "Action", "id": "get_status"},
            "resource": EntityUid("Daemon", "stockade").to_json(),
            "context": "{}",
        }
        policy = f'permit (principal in Group::"{group}", action, resource);'
        assert cedarpy.is_authorized(asked, policy, store.handle).decision.value == answer


def test_an_entity_that_does_not_fit_is_refused_wherever_it_stands() -> None:
    """The schema holds for each part of a large store."""

    class Odd(DeviceEntity):
        @property
        def attributes(self) -> Mapping[str, CedarValue]:
            return {"colour": "red"}

    many = [DeviceEntity(f"d{number}", "laptop") for number in range(1500)]
    for place in (0, 700, 1499):
        given = [*many[:place], Odd("odd", "x"), *many[place:]]
        with pytest.raises(EntityError) as refused:
            build(*given)
        assert refused.value.code == "ENTITY_INVALID"


def test_entities_in_a_circle_are_refused() -> None:
    """The engine's closure has no end for them; a store of such is never built."""

    @dataclass(frozen=True)
    class Within:
        uid: EntityUid
        parents: tuple[EntityUid, ...]
        attributes: Mapping[str, object] = field(default_factory=dict)
        tags: Mapping[str, str] = field(default_factory=dict)

    a, b = EntityUid("Group", "a"), EntityUid("Group", "b")
    with pytest.raises(EntityError) as caught:
        build(Within(a, (b,)), Within(b, (a,)))
    assert caught.value.code == "ENTITY_INVALID"
