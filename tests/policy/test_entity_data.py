"""What an operator says of the entities: one value, one form, no circles."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import entity_rules
from policy.bundle import Bundle
from policy.entity_data import (
    Change,
    EntityData,
    Join,
    Leave,
    Tag,
    Untag,
    parse_entity_data,
    state_digest,
)
from policy.entity_store import EntityStore
from policy.errors import EntityError
from policy.pdp import PDP
from policy.values import EntityUid
from tests.policy.world import SCHEMA, administer, ask_call, entities, uid

SHELL = uid("Tool::run_shell")


def group(name: str) -> EntityUid:
    return EntityUid("Group", name)


def told(text: str, *changes: Change) -> PDP:
    """A decision point that was told of these changes."""
    bundle = Bundle.build({"test.cedar": text}, SCHEMA)
    described = EntityData().changed(changes).describe(entities())
    return PDP(bundle, EntityStore.build(described, bundle.schema))


def refused(data: EntityData, *changes: Change) -> str:
    """The code of the refusal."""
    with pytest.raises(EntityError) as caught:
        data.changed(changes)
    assert caught.value.fix
    return caught.value.code


def test_a_group_in_a_group_is_a_role() -> None:
    """Who is in a group is in whatever that group is in, and only there."""
    text = 'permit (principal in Group::"staff", action == Action::"call", resource);'
    staff = (Join(group("callers"), group("paid")), Join(group("paid"), group("staff")))
    assert ask_call(told(text, *staff), "Device::dev-callers", "call").allowed
    assert ask_call(told(text, *staff), "Agent::bot", "call").allowed
    assert not ask_call(told(text, *staff), "Device::dev-owners", "call").allowed
    assert not ask_call(told(text), "Device::dev-callers", "call").allowed


def test_a_tool_in_a_toolset_of_the_operators_own() -> None:
    """A policy about a toolset holds for the tools that were put into it, at any level."""
    text = (
        "permit (principal, action, resource);"
        'forbid (principal, action == Action::"call", resource in Toolset::"dangerous");'
    )
    changes = (
        Join(SHELL, EntityUid("Toolset", "shells")),
        Join(EntityUid("Toolset", "shells"), EntityUid("Toolset", "dangerous")),
    )
    point = told(text, *changes)
    assert not ask_call(point, "Device::dev-callers", "call", "run_shell").allowed
    assert ask_call(point, "Device::dev-callers", "call", "read_file").allowed


def test_an_agent_in_a_group_of_its_own() -> None:
    """An agent may be in a group that its device is not in."""
    text = 'permit (principal in Group::"robots", action == Action::"call", resource);'
    point = told(text, Join(uid("Agent::bot"), group("robots")))
    assert ask_call(point, "Agent::bot", "call").allowed
    assert not ask_call(point, "Device::dev-callers", "call").allowed


def test_a_tag_is_what_a_policy_can_ask_for() -> None:
    """HasTag and getTag find what was set; what is not tagged has none."""
    text = (
        'permit (principal, action == Action::"call", resource) when '
        '{ resource.hasTag("reviewed") && resource.getTag("reviewed") == "yes" };'
    )
    point = told(text, Tag(SHELL, "reviewed", "no"), Tag(SHELL, "reviewed", "yes"))
    assert ask_call(point, "Device::dev-callers", "call", "run_shell").allowed
    assert not ask_call(point, "Device::dev-callers", "call", "read_file").allowed


def test_owners_by_way_of_another_group_are_owners() -> None:
    """The default policy's groups can be filled by groups."""
    text = (
        'permit (principal is Device in Group::"owners", action in Action::"administer", resource);'
    )
    point = told(text, Join(group("callers"), group("owners")))
    assert administer(point, "Device::dev-callers", "apply_policy").allowed
    assert not administer(point, "Agent::bot", "list_devices").allowed


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_nothing_is_in_itself(length: int) -> None:
    """A circle of any length is refused, with the way around."""
    around = [group(f"g{n}") for n in range(length)]
    ring = [Join(a, b) for a, b in pairwise([*around, around[0]])]
    with pytest.raises(EntityError) as caught:
        EntityData().changed(ring)
    assert caught.value.code == "ENTITY_CYCLE"
    assert str(caught.value).count("Group::") == length + 1
    EntityData().changed(ring[:-1])


def test_levels_are_bounded() -> None:
    """Eight levels, one within the other, and not nine, whichever way they came about."""
    chain = [group(f"g{n}") for n in range(entity_rules.MAX_DEPTH + 1)]
    joins = [Join(a, b) for a, b in pairwise(chain)]
    EntityData().changed(joins[:-1])
    assert refused(EntityData(), *joins) == "ENTITIES_TOO_DEEP"
    upper, lower = EntityData().changed(joins[:4]), joins[4:]
    assert refused(upper, *lower) == "ENTITIES_TOO_DEEP"


@pytest.mark.parametrize(
    ("child", "parent", "code"),
    [
        (SHELL, EntityUid("Toolset", "builtin"), "RESERVED_TOOLSET"),
        (EntityUid("Toolset", "mine"), EntityUid("Toolset", "signed"), "RESERVED_TOOLSET"),
        (SHELL, group("owners"), "BAD_MEMBERSHIP"),
        (uid("Device::d"), group("owners"), "BAD_MEMBERSHIP"),
        (uid("Action::call"), group("owners"), "BAD_MEMBERSHIP"),
        (group("Owners"), group("x"), "BAD_ID"),
        (group("owners "), group("x"), "BAD_ID"),
        (group("\u043ewners"), group("x"), "BAD_ID"),
        (group("x"), group("a" * 64), "BAD_ID"),
        (uid("Tool::no/tool"), EntityUid("Toolset", "mine"), "BAD_ID"),
    ],
)
def test_what_cannot_be_put_where(child: EntityUid, parent: EntityUid, code: str) -> None:
    """Types that do not go together, names outside their grammar, and where tools come from."""
    assert refused(EntityData(), Join(child, parent)) == code


@pytest.mark.parametrize(
    ("one", "key", "value", "code"),
    [
        (group("owners"), "k", "v", "BAD_TAG"),
        (uid("Host::a.b"), "k", "v", "BAD_TAG"),
        (SHELL, "", "v", "BAD_TAG"),
        (SHELL, "K", "v", "BAD_TAG"),
        (SHELL, "k" * 64, "v", "BAD_TAG"),
        (SHELL, "k", "v" * 257, "BAD_TAG"),
        (SHELL, "k", "\u0443es", "BAD_TAG"),
        (SHELL, "k", "a\nb", "BAD_TAG"),
        (uid("Tool::No"), "k", "v", "BAD_ID"),
    ],
)
def test_what_is_no_tag(one: EntityUid, key: str, value: str, code: str) -> None:
    """Keys and values that look like others, or like nothing, are no tags."""
    assert refused(EntityData(), Tag(one, key, value)) == code


@pytest.mark.parametrize("other", ["Ada Lovelace", "ADA LOVELACE", "adalovelace", "ada  lovelace"])
def test_two_spellings_of_one_person_are_refused(other: str) -> None:
    """Where policy wants two people, one person with a device under each name would be both."""
    phone, tablet = uid("Device::dev-a"), uid("Device::dev-b")
    ada = EntityData().changed([Tag(phone, "person", "ada lovelace")])
    assert refused(ada, Tag(tablet, "person", other)) == "BAD_TAG"
    assert refused(EntityData(), Tag(phone, "person", "ada lovelace"), Tag(tablet, "person", other))
    same = ada.changed([Tag(tablet, "person", "ada lovelace")])
    assert same.tags[tablet] == same.tags[phone]
    assert ada.changed([Tag(tablet, "person", "ada")]).tags[tablet]["person"] == "ada"
    # Of no other tag is it asked.
    assert ada.changed([Tag(tablet, "owner", other)]).tags[tablet] == {"owner": other}
    # All of them together are written otherwise.
    assert refused(same, Tag(phone, "person", "Ada Lovelace")) == "BAD_TAG"
    written = same.changed(Tag(one, "person", "Ada Lovelace") for one in (phone, tablet))
    assert {own["person"] for own in written.tags.values()} == {"Ada Lovelace"}


@pytest.mark.parametrize("name", ["", " ", " ada", "ada ", "ada  l", "\u0430da", "ad\u0061\u0308"])
def test_a_persons_name_has_no_stray_white_space_and_no_other_letters(name: str) -> None:
    """Nothing that looks like another name on a screen, or like none, is a name."""
    assert refused(EntityData(), Tag(uid("Device::dev-a"), "person", name)) == "BAD_TAG"


def test_spellings_from_before_the_rule_are_read() -> None:
    """What was stored stays as it was, and can be put right; the judge counts it as one person."""
    stored = EntityData(
        tags={uid("Device::dev-a"): {"person": "Ada"}, uid("Device::dev-b"): {"person": "ada"}}
    )
    assert parse_entity_data(stored.encode()) == stored
    assert stored.changed([Tag(SHELL, "reviewed", "yes")]).tags[SHELL] == {"reviewed": "yes"}
    mended = stored.changed([Tag(uid("Device::dev-b"), "person", "Ada")])
    assert {own["person"] for own in mended.tags.values()} == {"Ada"}


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of one, so many in all."""
    many = [Join(group("g"), group(f"p{n}")) for n in range(entity_rules.MAX_PARENTS + 1)]
    EntityData().changed(many[:-1])
    assert refused(EntityData(), *many) == "TOO_MANY_ENTITIES"
    tags = [Tag(SHELL, f"k{n}", "v") for n in range(entity_rules.MAX_TAGS_OF_ONE + 1)]
    EntityData().changed(tags[:-1])
    assert refused(EntityData(), *tags) == "TOO_MANY_ENTITIES"
    monkeypatch.setattr(entity_rules, "MAX_MEMBERSHIPS", 3)
    monkeypatch.setattr(entity_rules, "MAX_TAGS", 3)
    assert refused(EntityData(), *many[:4]) == "TOO_MANY_ENTITIES"
    assert refused(EntityData(), *tags[:4]) == "TOO_MANY_ENTITIES"


def test_what_is_not_there_cannot_be_taken_away() -> None:
    """Nor is anything else changed by the attempt."""
    data = EntityData().changed([Join(SHELL, EntityUid("Toolset", "mine")), Tag(SHELL, "k", "v")])
    assert refused(data, Leave(SHELL, EntityUid("Toolset", "other"))) == "NOT_A_MEMBER"
    assert refused(data, Untag(SHELL, "other")) == "NOT_TAGGED"
    gone = data.changed([Leave(SHELL, EntityUid("Toolset", "mine")), Untag(SHELL, "k")])
    assert gone == EntityData()


NAMES = st.sampled_from("abcdef")
CHANGES = st.lists(
    st.one_of(
        st.builds(lambda a, b: Join(group(a), group(b)), NAMES, NAMES),
        st.builds(lambda a, b: Leave(group(a), group(b)), NAMES, NAMES),
        st.builds(lambda k, v: Tag(SHELL, k, v), NAMES, st.text("xyz", max_size=3)),
        st.builds(lambda k: Untag(SHELL, k), NAMES),
    ),
    max_size=30,
)


@given(CHANGES, st.booleans())
def test_one_form_and_no_circles_whatever_is_done(changes: list[Change], on: bool) -> None:
    """Any changes, in any order: nothing is above itself, and bytes and value are one."""
    data = EntityData().with_maintenance(on)
    for change in changes:
        try:
            data = data.changed([change])
        except EntityError:
            continue
    for child, above in data.parents.items():
        assert child not in data.ancestors(above)
    again = parse_entity_data(data.encode())
    assert again == data
    assert again.encode() == data.encode()
    assert again.maintenance is on


@given(CHANGES, CHANGES)
def test_the_digest_is_of_the_value(one: list[Change], other: list[Change]) -> None:
    """Two data have the same digest exactly if they say the same."""

    def made(changes: list[Change]) -> EntityData:
        data = EntityData()
        for change in changes:
            try:
                data = data.changed([change])
            except EntityError:
                continue
        return data

    a, b = made(one), made(other)
    assert (state_digest("00", a) == state_digest("00", b)) is (a == b)
    assert state_digest("00", a) != state_digest("01", a)
    assert state_digest("00", a) != state_digest("00", a.with_maintenance(True))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"maintenance":0,"members":{},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{},"tags":{},"v":2}',
        b'{"maintenance":false, "members":{},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{},"more":1,"tags":{},"v":1}',
        b'{"maintenance":false,"members":{"Group":{"a":["b","b"]}},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{"Group":{"a":"b"}},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{"Group":{"a":[]}},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{"Group":{"a":["a"]}},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{"Device":{"a":["a"]}},"tags":{},"v":1}',
        b'{"maintenance":false,"members":{},"tags":{"Tool":{"t":{"k":1}}},"v":1}',
    ],
)
def test_stored_data_in_any_other_form_is_refused(document: bytes) -> None:
    """What is not exactly what was written is not put in force."""
    with pytest.raises(EntityError):
        parse_entity_data(document)


def test_ten_thousand_memberships_are_checked_once() -> None:
    """The bound is a bound of work, too: a thousand changes of a full set are one check."""
    above = [Join(group(f"g{n}"), group("all")) for n in range(entity_rules.MAX_MEMBERSHIPS)]
    data = EntityData().changed(above)
    assert len(json.loads(data.encode())["members"]["Group"]) == entity_rules.MAX_MEMBERSHIPS
    assert parse_entity_data(data.encode()) == data
