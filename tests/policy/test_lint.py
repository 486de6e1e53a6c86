"""What a valid set is warned of, and what it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import lint as linting
from policy.bundle import Bundle
from policy.covering import covers
from policy.defaults import load_default_files
from policy.entity_store import EntityStore
from policy.errors import Problem, Severity
from policy.lint import Known, lint
from policy.scope import ANY, Key, Scope, is_exactly, is_in, is_of, is_of_in, keys_of
from policy.values import EntityUid
from tests.policy.world import SCHEMA, entities

CALL = 'principal, action == Action::"call", resource'
ANYTHING = "action, resource"
WORKSPACE = "context has workspace && context.workspace"


def known(bundle: Bundle) -> Known:
    store = EntityStore.build(entities(), bundle.schema)
    types = frozenset({"Tool", "Device", "Agent", "Workspace", "Secret"})
    return Known(store.entities.keys(), types, store.ancestors)


def warnings(text: str, of: Known | None = None) -> list[Problem]:
    bundle = Bundle.build({"a.cedar": text}, SCHEMA)
    return list(lint(bundle, of or known(bundle)))


def codes(text: str, of: Known | None = None) -> list[tuple[str, int]]:
    return [(one.code, one.line) for one in warnings(text, of)]


def test_the_default_policy_has_no_warnings() -> None:
    """What comes with Stockade is clean, on a machine where nobody is in most groups."""
    bundle = Bundle.build(load_default_files(), SCHEMA)
    assert lint(bundle, known(bundle)) == ()


def test_a_warning_says_where_and_what_and_is_no_error() -> None:
    """File, line, code, message, fix; a set with warnings can be applied."""
    (one,) = warnings(f"\n\npermit ({CALL}) when {{ false }};")
    assert (one.file, one.line, one.severity) == ("a.cedar", 3, Severity.WARNING)
    assert one.message
    assert one.fix


@pytest.mark.parametrize(
    "policy",
    [
        f"permit ({CALL}) when {{ false }};",
        f"forbid ({CALL}) unless {{ true }};",
        f"permit ({CALL}) when {{ principal is Agent && principal is Device }};",
        f"permit ({CALL}) when {{ context has nothing && context.maintenance }};",
        f'permit ({CALL}) when {{ resource in Group::"owners" }};',
        'permit (principal, action == Action::"approve", resource) when { principal is Agent };',
    ],
)
def test_a_policy_that_never_applies_is_unreachable(policy: str) -> None:
    """False for every request that the schema allows: the engine's type checker knows."""
    assert ("UNREACHABLE_POLICY", 1) in codes(policy)


@pytest.mark.parametrize(
    "policy",
    [
        f'permit ({CALL}) when {{ context.tier == "x" && context.tier == "y" }};',
        f"permit ({CALL}) when {{ principal is Agent }};",
        f"permit ({CALL}) when {{ context has workspace }};",
        f"permit ({CALL});",
    ],
)
def test_what_values_decide_is_not_called_unreachable(policy: str) -> None:
    """No warning where one cannot be sure."""
    assert codes(policy) == []


@pytest.mark.parametrize(
    ("permit", "forbid"),
    [
        (CALL, "principal, action, resource"),
        ('principal == Device::"dev-callers", action, resource', "principal, action, resource"),
        (
            'principal == Device::"dev-callers", action == Action::"call", resource',
            'principal in Group::"callers", action in [Action::"call"], resource',
        ),
        (
            'principal, action == Action::"add_tool", resource',
            'principal, action in Action::"administer", resource',  # a group in a group
        ),
        (
            'principal is Agent in Device::"dev-callers", action == Action::"call", resource',
            'principal is Agent in Group::"callers", action, resource',
        ),
        (
            'principal, action == Action::"call", resource is Tool in Toolset::"local"',
            'principal, action == Action::"call", resource is Tool',
        ),
        (
            'principal, action == Action::"call", resource == Tool::"read_file"',
            'principal, action, resource in Toolset::"builtin"',
        ),
    ],
)
def test_a_permit_that_a_forbid_always_beats_is_shadowed(permit: str, forbid: str) -> None:
    """The forbid has no condition, or one that always holds, and its scope takes in the other."""
    for condition in ("", "when { true }", "unless { principal is Host }"):
        text = f"permit ({permit}) when {{ principal != resource }};\n"
        text += f"forbid ({forbid}) {condition};"
        found = [one for one in warnings(text) if one.code == "SHADOWED_PERMIT"]
        assert [one.line for one in found] == [1], condition
        assert "a.cedar#2 (a.cedar:2)" in found[0].message


@pytest.mark.parametrize(
    ("permit", "forbid"),
    [
        (
            CALL,
            f"{CALL}) when {{ context.maintenance }}; forbid ({CALL.replace('call', 'approve')}",
        ),
        (CALL, 'principal == Device::"dev-callers", action, resource'),
        (
            'principal in Group::"owners", action, resource',
            'principal in Group::"callers", action, resource',
        ),
        ("principal, action, resource", CALL),
        (CALL, 'principal is Device, action == Action::"call", resource'),
        ('principal, action in [Action::"call", Action::"approve"], resource', CALL),
    ],
)
def test_a_permit_that_permits_something_is_not_shadowed(permit: str, forbid: str) -> None:
    """A condition that may not hold, or a narrower scope, leaves something over."""
    found = codes(f"permit ({permit});\nforbid ({forbid});")
    assert not [one for one in found if one[0] == "SHADOWED_PERMIT"]


ADDING = 'principal, action == Action::"add_tool", resource'
SOME = 'principal == Device::"dev-callers"'  # which values decide


def redundant(*policies: str) -> list[int]:
    """The lines of the permits that could as well not be there."""
    return [line for code, line in codes("\n".join(policies)) if code == "REDUNDANT_PERMIT"]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (CALL, "principal, action, resource"),
        (
            'principal == Device::"dev-callers", action, resource',
            "principal is Device, action, resource",
        ),
        (
            'principal == Device::"dev-callers", action, resource == Tool::"read_file"',
            'principal in Group::"callers", action, resource is Tool',
        ),
        (ADDING, 'principal, action in Action::"administer", resource'),
    ],
)
def test_a_permit_that_another_always_grants_too_is_redundant(narrow: str, wide: str) -> None:
    """In whichever order, with a condition of its own or none; the wider one is not told of."""
    for condition in ("", f"when {{ {SOME} }}"):
        one, other = f"permit ({narrow}) {condition};", f"permit ({wide}) when {{ true }};"
        assert (redundant(one, other), redundant(other, one)) == ([1], [2])
    found = [each for each in warnings(f"{one}\n{other}") if each.code == "REDUNDANT_PERMIT"]
    assert "a.cedar#2 (a.cedar:2)" in found[0].message


def test_of_equal_permits_the_first_is_needed() -> None:
    """Two of three could go, and not the third; one with a condition goes before one without."""
    assert redundant(*[f"permit ({CALL});"] * 3) == [2, 3]
    assert redundant(f"permit ({CALL}) when {{ {SOME} }};", f"permit ({CALL});") == [1]


@pytest.mark.parametrize(
    "other",
    [
        f"permit ({CALL}) when {{ context.maintenance }};",
        f"permit ({ADDING});",
        'permit (principal in Group::"owners", action, resource);',
        f"forbid ({CALL}) when {{ context.maintenance }};",
    ],
)
def test_a_permit_that_grants_something_more_is_not_redundant(other: str) -> None:
    """What the other has conditions for, or is not about, is granted by this one alone."""
    assert (
        redundant(f'permit (principal in Group::"callers", {CALL.partition(", ")[2]});', other)
        == []
    )


UIDS = tuple(EntityUid(kind, name) for kind in ("A", "B") for name in ("x", "y", "z"))
KEYS = st.one_of(
    st.just(ANY),
    st.sampled_from(UIDS).map(is_exactly),
    st.sampled_from(UIDS).map(is_in),
    st.sampled_from(("A", "B")).map(is_of),
    st.builds(is_of_in, st.sampled_from(("A", "B")), st.sampled_from(UIDS)),
)


@given(KEYS, KEYS, st.lists(st.sampled_from(UIDS), max_size=3), st.sampled_from(UIDS))
def test_a_wider_scope_fits_whatever_the_narrower_fits(
    wide: Key, narrow: Key, order: list[EntityUid], uid: EntityUid
) -> None:
    """By the keys of any entity in any hierarchy: nothing is called shadowed that is not."""
    chain = list(dict.fromkeys([uid, *order]))  # each in all that follow

    def ancestors(one: EntityUid) -> list[EntityUid]:
        return chain[chain.index(one) + 1 :] if one in chain else []

    if covers(Scope(wide, (ANY,), ANY), Scope(narrow, (ANY,), ANY), ancestors):
        keys = keys_of(uid, ancestors(uid))
        assert wide in keys or narrow not in keys


def test_a_name_of_nothing_is_unknown() -> None:
    """Of a type whose entities are all known; with what may have been meant."""
    text = (
        'forbid (principal == Device::"dev-caller", action, resource);\n'
        'forbid (principal, action == Action::"call", resource == Tool::"run_shel");\n'
        f'forbid ({CALL}) when {{ {WORKSPACE} == Workspace::"doc" }};\n'
        'permit (principal in Group::"onwers", action, resource);\n'
        'permit (principal in Group::"night-shift", action, resource in Toolset::"mine");\n'
        'permit (principal, action == Action::"call", resource in Toolset::"buitlin");\n'
        'permit (principal in Group::"operators", action == Action::"connect",'
        ' resource == Host::"api.example.com");'
    )
    found = [one for one in warnings(text) if one.code == "NO_SUCH_ENTITY"]
    assert [(one.line, one.fix) for one in found] == [
        (1, 'did you mean Device::"dev-callers"?'),
        (2, 'did you mean Tool::"run_shell"?'),
        (3, 'did you mean Workspace::"docs"?'),
        (4, 'did you mean Group::"owners"?'),
        (6, 'did you mean Toolset::"builtin"?'),
    ]


def test_without_knowledge_of_a_type_nothing_is_said_of_it() -> None:
    """Offline nobody knows the devices."""
    text = 'permit (principal == Device::"anybody", action, resource == Tool::"nothing");'
    assert codes(text, Known(types=frozenset({"Tool"}))) == [("NO_SUCH_ENTITY", 1)]
    assert codes(text, Known()) == []


@pytest.mark.parametrize(
    "condition",
    [
        "context.clock.hour + 1 > 2",
        "context.clock.hour * 2 > 2",
        "-context.clock.hour < 0",
        'context.time.offset(duration("1d")) > context.time',
        'context.time.durationSince(context.time) > duration("1d")',
        'Device::"dev-owners".name == "owners"',
        '(Device::"dev-owners").name == "owners"',
        '(if 1 < 2 then Device::"dev-owners" else Device::"dev-owners").name == "x"',
        'resource has agent && resource.agent.name == "bot"',
    ],
)
def test_a_policy_that_can_be_in_error_is_named(condition: str) -> None:
    """Overflow, and an entity of the policy's own that may not be there: forbid or permit."""
    scope = CALL.replace("call", "watch_call") if "agent" in condition else CALL
    assert codes(f"forbid ({scope}) when {{ {condition} }};") == [("FORBID_CAN_ERROR", 1)]
    assert codes(f"permit ({scope}) when {{ {condition} }};") == [("PERMIT_CAN_ERROR", 1)]


@pytest.mark.parametrize(
    "condition",
    [
        'Device::"dev-owners" has name && Device::"dev-owners".name == "x-y"',
        'Tool::"read_file".hasTag("x") && Tool::"read_file".getTag("x") == "y"',
        'context.tier == "a-b" && resource.digest like "*"',
        "context has workspace && context.workspace.writable",
        "context.clock.hour < -1",
        'resource.device.name == "agent" || resource.tool.network',
    ],
)
def test_a_policy_that_asks_first_cannot_be_in_error(condition: str) -> None:
    """No warning for what is guarded, for attributes of what there must be, or for constants."""
    scope = CALL.replace("call", "watch_call") if "agent" in condition else CALL
    assert codes(f"forbid ({scope}) when {{ {condition} }};") == []


def test_an_annotation_without_meaning_is_named() -> None:
    """Ours are few; any other says nothing to Stockade."""
    text = f'@note("n") @description("d") @severity("high") permit ({CALL});'
    assert codes(text) == [("UNKNOWN_ANNOTATION", 1)]


@pytest.mark.parametrize("name", ["Id", "ID", "di", "i", "idd", "ids", "ib", "_id", "ld"])
def test_an_annotation_that_is_nearly_id_is_refused(name: str) -> None:
    """A typo there leaves the policy without its name: an error, with file and line."""
    (problem,) = Bundle.check({"a.cedar": f'\n@{name}("x") permit ({CALL});'}, SCHEMA)
    assert (problem.code, problem.file, problem.line) == ("ANNOTATION_TYPO", "a.cedar", 2)
    assert problem.severity is Severity.ERROR


def test_many_policies_without_a_scope_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index cannot leave them out, so every question pays for all."""
    monkeypatch.setattr(linting, "MAX_BROAD", 3)
    broad = f'permit ({CALL}) when {{ principal == Device::"dev-owners" }};\n'
    assert codes(broad * 3) == []
    assert codes(broad * 4) == [("BROAD_POLICIES", 1)]
