"""On random sets the index changes nothing: decision, determining policies, errors, their text.

Everything is drawn from a universe so small that scopes, ancestors and errors meet all the time.
"""

import json

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.values import EntityUid
from policy.workbench import Policies, Request, Workbench
from tests.policy.reference import Reference

IDS = ("x", "y", 'q"\\é\u200b')
TYPES = ("A", "N::A")
ACTIONS = tuple(EntityUid("Action", name) for name in ("a", "b", "group", "all", "unknown"))
ENTITIES = tuple(EntityUid(kind, name) for kind in TYPES for name in IDS)

CONDITIONS = (
    "",
    "when { true }",
    "when { false }",
    "when { 9223372036854775807 + 1 == 0 }",
    "unless { principal.missing }",
    'when { principal has missing && principal.missing == "" }',
    "when { context.flag }",
    'when { resource in A::"x" || principal == resource }',
    'when { decimal("x").lessThan(decimal("1.0")) }',
    "when { principal.n == 1 } unless { resource.n == 1 }",
)


def cedar(uid: EntityUid) -> str:
    """As Cedar text. JSON's escapes are Cedar's here but for the one of a code point."""
    text = json.dumps(uid.id, ensure_ascii=False).replace("\u200b", "\\u{200b}")
    return f"{uid.type}::{text}"


UIDS = st.sampled_from(ENTITIES)


def _constraint(variable: str, slots: bool) -> st.SearchStrategy[str]:
    uid = UIDS.map(cedar) | (st.just(f"?{variable}") if slots else st.nothing())
    kind = st.sampled_from(TYPES)
    return st.one_of(
        st.just(variable),
        uid.map(lambda one: f"{variable} == {one}"),
        uid.map(lambda one: f"{variable} in {one}"),
        kind.map(lambda one: f"{variable} is {one}"),
        st.tuples(kind, uid).map(lambda two: f"{variable} is {two[0]} in {two[1]}"),
    )


_ACTION = st.one_of(
    st.just("action"),
    st.sampled_from(ACTIONS).map(lambda one: f"action == {cedar(one)}"),
    st.sampled_from(ACTIONS).map(lambda one: f"action in {cedar(one)}"),
    st.lists(st.sampled_from(ACTIONS), max_size=3).map(
        lambda some: f"action in [{', '.join(map(cedar, some))}]"
    ),
    # Twice what the same action is in, which must not make it two policies.
    st.just('action in [Action::"group", Action::"a", Action::"all"]'),
)


def _policy(slots: bool) -> st.SearchStrategy[str]:
    return st.tuples(
        st.sampled_from(("permit", "forbid")),
        _constraint("principal", slots),
        _ACTION,
        _constraint("resource", slots),
        st.sampled_from(CONDITIONS),
    ).map(lambda p: f"{p[0]} ({p[1]}, {p[2]}, {p[3]}) {p[4]};")


@st.composite
def _entities(draw: st.DrawFn) -> str:
    """Some of the universe exist; each is in some of those that come after it, so in no cycle."""
    there = draw(st.lists(UIDS, unique=True, max_size=10))
    actions = [
        {"uid": ACTIONS[0].to_json(), "attrs": {}, "parents": [ACTIONS[2].to_json()]},
        {"uid": ACTIONS[1].to_json(), "attrs": {}, "parents": [ACTIONS[2].to_json()]},
        {"uid": ACTIONS[2].to_json(), "attrs": {}, "parents": [ACTIONS[3].to_json()]},
    ]
    written = []
    for place, uid in enumerate(there):
        # An absent parent, too: Cedar knows one by its mention alone.
        above = st.sampled_from([*there[place + 1 :], EntityUid("A", "absent")])
        parents = draw(st.lists(above, unique=True, max_size=3))
        attributes = draw(st.sampled_from(({}, {"n": 1}, {"missing": True}, {"missing": ""})))
        written.append(
            {
                "uid": uid.to_json(),
                "attrs": attributes,
                "parents": [parent.to_json() for parent in parents],
            }
        )
    return json.dumps([*actions, *written])


@st.composite
def _linked(draw: st.DrawFn) -> str:
    """A set with static policies, templates, and several links of some of them."""
    text = "\n".join(draw(st.lists(_policy(slots=True), min_size=1, max_size=8)))
    written = json.loads(cedarpy.policies_to_json_str(text))
    for name, template in written["templates"].items():
        for number in range(draw(st.integers(0, 3))):
            slots = [
                v for v in ("?principal", "?resource") if json.dumps(v) in json.dumps(template)
            ]
            written["templateLinks"].append(
                {
                    "templateId": name,
                    # Also names that the slices use themselves.
                    "newId": draw(
                        st.sampled_from((f"{name}-{number}", f"policy9{name[6:]}{number}"))
                    ),
                    "values": {slot: draw(UIDS).to_json() for slot in slots},
                }
            )
    return json.dumps(written)


REQUESTS = st.lists(
    st.builds(
        Request,
        UIDS,
        st.sampled_from(ACTIONS),
        UIDS,
        st.sampled_from(({}, {"flag": True}, {"flag": 1})),
    ),
    min_size=1,
    max_size=6,
)
STATIC = st.lists(_policy(slots=False), max_size=10).map("\n".join)


def _agree(bench: Workbench, reference: Reference, requests: list[Request]) -> None:
    for request in [*requests, *requests]:  # the second time from what is kept
        expected, answer = reference.answer(request), bench.answer(request)
        assert (answer, answer.messages) == (expected, expected.messages)


@settings(max_examples=400)
@given(STATIC, _entities(), REQUESTS)
def test_a_slice_answers_as_the_whole_set(
    text: str, entities: str, requests: list[Request]
) -> None:
    """Every form of scope, hierarchies, unknown entities, conditions in error: the same answer."""
    reference = Reference(cedarpy.PolicySet.from_str(text), entities)
    _agree(Workbench(Policies.from_cedar(text), entities), reference, requests)


@settings(max_examples=200)
@given(_linked(), _entities(), REQUESTS)
def test_linked_policies_are_sliced_by_what_fills_their_slots(
    text: str, entities: str, requests: list[Request]
) -> None:
    """Templates decide nothing by themselves; each link decides where its values say."""
    reference = Reference(cedarpy.PolicySet.from_json_str(text), entities)
    _agree(Workbench(Policies.from_json(text), entities), reference, requests)


SCHEMA = """
entity G; entity U in [G] { n?: Long }; entity R in [G];
action all; action group in [all];
action a, b in [group] appliesTo { principal: [U], resource: [U, R], context: { flag?: Bool } };
"""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("permit", "forbid")),
            st.sampled_from(("", 'in G::"g"', "is U", 'is U in G::"h"', '== U::"u"')),
            st.sampled_from(('== Action::"a"', 'in Action::"group"', 'in [Action::"all"]', "")),
            st.sampled_from(("", "is R", '== U::"u"', 'in U::"u"')),
            st.sampled_from(("", "when { context.flag }", "when { principal.n + 1 > 0 }")),
        ),
        max_size=8,
    ),
    st.sampled_from(("u", "v")),
    st.sampled_from((EntityUid("U", "u"), EntityUid("R", "r"), EntityUid("G", "g"))),
    st.sampled_from(("a", "b", "group")),
)
def test_action_groups_of_the_schema_are_followed(
    drawn: list[tuple[str, ...]], principal: str, resource: EntityUid, action: str
) -> None:
    """What only the schema says of actions counts in scopes; a request it refuses has no answer."""
    text = "\n".join(
        f"{e} (principal {p}, action {a}, resource {r}) {c};" for e, p, a, r, c in drawn
    )
    entities = json.dumps(
        [
            {"uid": {"type": "U", "id": "u"}, "attrs": {}, "parents": [{"type": "G", "id": "g"}]},
            {"uid": {"type": "U", "id": "v"}, "attrs": {"n": 2**63 - 1}, "parents": []},
        ]
    )
    request = Request(EntityUid("U", principal), EntityUid("Action", action), resource, {})
    reference = Reference(cedarpy.PolicySet.from_str(text), entities, SCHEMA)
    _agree(Workbench(Policies.from_cedar(text), entities, SCHEMA), reference, [request])
