"""The daemon's own questions, answered from slices: the same decisions as from the whole set."""

import gc

import cedarpy
import pytest

from policy import slices
from policy.bundle import Bundle
from policy.contexts import call_context
from policy.defaults import load_default_files
from policy.entities import CallEntity, DeviceEntity, Entity
from policy.entity_store import Entities, EntityStore
from policy.pdp import PDP, Decision, Question
from policy.slices import PolicySlice, Slices
from tests.policy.world import (
    CALL_ID,
    SCHEMA,
    TOOLS,
    ask_call,
    context_for,
    entities,
    facts,
    pdp,
    uid,
)

POLICIES = """
@id("eq") permit (principal == Device::"dev-nobody", action, resource);
@id("group-of-actions") permit (principal in Group::"auditors", action in [Action::"operate",
  Action::"administer"], resource);
@id("one-tool") forbid (principal, action == Action::"call", resource == Tool::"publish");
@id("agents") forbid (principal is Agent in Device::"dev-owners", action, resource);
@id("toolset") permit (principal, action, resource in Toolset::"signed");
@id("sum") forbid (principal, action == Action::"call_unattended", resource in Toolset::"local")
  when { 9223372036854775807 + 1 == 0 };
@id("own") permit (principal, action == Action::"revoke_agent", resource in Device::"dev-callers");
"""


class WholeSet(PDP):
    """Looks at every policy, whatever the question."""

    __slots__ = ()

    def _slice(self, question: Question, entities: Entities) -> PolicySlice:  # noqa: ARG002 - that is the point
        return self.bundle.slices.whole()


def both(files: dict[str, str], there: list[Entity]) -> tuple[PDP, PDP]:
    bundle = Bundle.build(files, SCHEMA)
    store = EntityStore.build(there, bundle.schema)
    return PDP(bundle, store), WholeSet(bundle, store)


def test_every_action_is_answered_as_from_the_whole_set() -> None:
    """Each action, of each principal, with its own context: one answer, sliced or not."""
    sliced, whole = both({**load_default_files(), "more.cedar": POLICIES}, entities())
    seen: set[tuple[str, ...]] = set()
    for action in sorted(one.id for one in sliced.bundle.schema.groups):
        for who in [e.uid for e in entities() if e.uid.type in ("Device", "Agent")]:
            resource, context, own = context_for(action)
            for what in {resource, "Tool::run_shell", "Tool::publish"}:
                question = Question(who, action, uid(what), context, own)
                expected = whole.decide(question)
                assert sliced.decide(question) == expected
                assert sliced.decide(question) == expected
                seen.add((expected.code, *(ref.id for ref in expected.reasons)))
    assert len(seen) > 15


def seen_by_engine(monkeypatch: pytest.MonkeyPatch, point: PDP, question: Question) -> int:
    """How many policies the engine gets to see."""
    sizes: list[int] = []
    real = cedarpy.is_authorized

    def spy(request: dict[str, object], policies: cedarpy.PolicySet, *rest: object) -> object:
        sizes.append(len(policies))
        return real(request, policies, *rest)  # type: ignore[arg-type] # the handles, whatever they are

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", spy)
        point.decide(question)
    return sizes[-1]


def test_the_engine_sees_only_what_can_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand policies about others do not come into a question."""
    others = "".join(
        f'permit (principal == Device::"other-{n}", action == Action::"call", resource);'
        for n in range(1000)
    )
    text = f'{others} permit (principal, action == Action::"call", resource);'
    question = Question(
        uid("Device::dev-callers"), "call", uid("Tool::read_file"), call_context(facts())
    )
    assert seen_by_engine(monkeypatch, pdp(text), question) == 1


def test_an_entity_of_one_question_changes_no_slice_of_another() -> None:
    """What a call is in, given with one question, is not remembered for the next."""
    text = (
        'permit (principal, action == Action::"watch_call", resource) when { resource has agent };'
    )
    point = pdp(text)

    def watch(call: CallEntity) -> Decision:
        _, context, _ = context_for("watch_call")
        return point.decide(
            Question(uid("Device::dev-callers"), "watch_call", call.uid, context, (call,))
        )

    assert watch(CallEntity(CALL_ID, "dev-callers", "read_file", agent="bot")).allowed
    assert not watch(CallEntity(CALL_ID, "dev-callers", "read_file")).allowed


def test_a_change_of_groups_is_a_change_of_slices() -> None:
    """With other entities the same bundle finds other policies: none is kept from before."""
    text = '@id("g") permit (principal in Group::"owners", action == Action::"call", resource);'
    bundle = Bundle.build({"a.cedar": text}, SCHEMA)
    tools = [one for one in entities() if one.uid.type == "Tool"]

    def allowed(*groups: str) -> bool:
        store = EntityStore.build([DeviceEntity("d", "d", groups), *tools], bundle.schema)
        return ask_call(PDP(bundle, store), "Device::d", "call").allowed

    assert [allowed("owners"), allowed("auditors"), allowed("owners")] == [True, False, True]


def test_what_is_compiled_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slices are asked for, those kept weigh no more than the limit."""
    monkeypatch.setattr(slices, "MAX_KIB", 100)
    texts = "".join(
        f'permit (principal == Device::"d{n}", action == Action::"call", resource);'
        for n in range(200)
    )
    bundle = Bundle.build({"a.cedar": texts}, SCHEMA)
    tools = [one for one in entities() if one.uid.type == "Tool"]
    devices = [DeviceEntity(f"d{n}", "d") for n in range(200)]
    point = PDP(bundle, EntityStore.build([*devices, *tools], bundle.schema))
    for _ in range(2):
        for device in devices:
            assert ask_call(point, f"Device::{device.id}", "call").allowed
    assert bundle.slices._compiled.weight <= 100


def test_a_retired_decision_point_still_decides() -> None:
    """A call that was begun under the set before ends under it, with the same answers."""
    sliced, whole = both({**load_default_files(), "more.cedar": POLICIES}, entities())
    before = [ask_call(sliced, "Device::dev-callers", "call", name) for name in TOOLS]
    sliced.retire(lambda: None)
    assert sliced.bundle.slices._compiled.weight == 0
    assert [ask_call(sliced, "Device::dev-callers", "call", name) for name in TOOLS] == before
    assert [ask_call(whole, "Device::dev-callers", "call", name) for name in TOOLS] == before


def test_what_was_asked_last_is_compiled_before_another_set_is_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first calls under it find their policies there, and get the answers of this very set."""
    before, _ = both(load_default_files(), entities())
    after, whole = both({**load_default_files(), "more.cedar": POLICIES}, entities())
    for name in TOOLS:
        ask_call(before, "Device::dev-callers", "call", name)
    after.foresee(before, lambda: None)
    with monkeypatch.context() as patch:
        patch.delattr(slices.TextSource, "compile")
        patch.delattr(slices.TextSource, "extend")
        found = [ask_call(after, "Device::dev-callers", "call", name) for name in TOOLS]
    assert found == [ask_call(whole, "Device::dev-callers", "call", name) for name in TOOLS]
    assert after.bundle.slices._compiled.weight > 0


def test_what_is_not_there_any_more_is_not_foreseen() -> None:
    """A device that was asked about and is gone is a stranger to the next set as to any."""
    before, _ = both(load_default_files(), entities())
    gone = [one for one in entities() if one.uid != uid("Device::dev-callers")]
    after = PDP(before.bundle, EntityStore.build(gone, before.bundle.schema))
    ask_call(before, "Device::dev-callers", "call", "read_file")
    after.foresee(before, lambda: None)
    assert len(after._found) == 0
    assert ask_call(after, "Device::dev-callers", "call", "read_file").code == "UNKNOWN_PRINCIPAL"


def test_a_set_that_nobody_holds_is_gone_without_the_collector() -> None:
    """Nothing in it holds itself: the daemon takes what is there after a change out of the
    collector's sight, so it would stay for ever.
    """

    def there() -> int:
        return sum(isinstance(one, Slices | PolicySlice) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = there()
        more = (
            'forbid (principal, action == Action::"call", resource) when {PATH != principal.name};'
        )
        path = "context.arguments has read_file && context.arguments.read_file.path"
        files = {**load_default_files(), "more.cedar": POLICIES + more.replace("PATH", path)}
        sliced, _ = both(files, entities())
        for name in TOOLS:
            ask_call(sliced, "Device::dev-callers", "call", name)
        assert there() > before + 3
        del sliced, _
        assert there() == before
    finally:
        gc.enable()
