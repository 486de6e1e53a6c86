"""What a decision may never do."""

import subprocess
import sys
from dataclasses import replace

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.bundle import Bundle
from policy.contexts import call_context
from policy.entities import DeviceEntity, HostEntity
from policy.entity_store import EntityStore
from policy.errors import SnapshotError
from policy.pdp import PDP, Question, ReasonCode
from policy.schema import load_base
from policy.values import EntityUid
from tests.policy.world import ask_call, default_pdp, entities, facts, pdp, uid

OPEN = '@id("open") permit (principal, action, resource);\n'
CALLER = "Device::dev-callers"


def question(**changes: object) -> Question:
    base = Question(uid(CALLER), "call", uid("Tool::read_file"), call_context(facts()))
    return replace(base, **changes)  # type: ignore[arg-type] # tests pass what callers must not


def test_a_permit_permits_and_is_named() -> None:
    """A yes names the policy, its file and its line."""
    decision = ask_call(pdp("\n" + OPEN), CALLER, "call")
    assert decision.allowed
    assert decision.code is ReasonCode.PERMITTED
    (ref,) = decision.reasons
    assert (ref.id, ref.file, ref.line) == ("open", "test.cedar", 2)


def test_no_policy_denies() -> None:
    """An empty policy set permits nothing."""
    decision = ask_call(pdp("// nothing\n"), CALLER, "call")
    assert (decision.allowed, decision.code) == (False, ReasonCode.NOT_PERMITTED)


def test_a_forbid_wins_and_is_named() -> None:
    """A forbid beside a permit is a no that names the forbid alone."""
    decision = ask_call(pdp(OPEN + "forbid (principal, action, resource);"), CALLER, "call")
    assert (decision.allowed, decision.code) == (False, ReasonCode.FORBIDDEN)
    assert [ref.id for ref in decision.reasons] == ["test.cedar#2"]


def test_a_forbid_that_errors_denies() -> None:
    """Cedar skips a forbid that errors and says Allow; the answer here is no."""
    text = OPEN + (
        '@id("sum") forbid (principal, action == Action::"call", resource in Toolset::"builtin")'
        " when { 9223372036854775807 + 1 == 0 };"
    )
    decision = ask_call(pdp(text), CALLER, "call")
    assert (decision.allowed, decision.code) == (False, ReasonCode.EVALUATION_ERROR)
    assert "`sum`" in decision.errors[0]


def test_a_permit_that_errors_is_not_a_plain_no() -> None:
    """A set whose only permit errors says so instead of NOT_PERMITTED."""
    text = "permit (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"
    decision = ask_call(pdp(text), CALLER, "call")
    assert (decision.allowed, decision.code) == (False, ReasonCode.EVALUATION_ERROR)


def test_a_missing_attribute_denies() -> None:
    """A context that lacks what the schema requires gets a no, not a guess."""
    for name in call_context(facts()):
        context = {k: v for k, v in call_context(facts()).items() if k != name}
        decision = pdp(OPEN).decide(question(context=context))
        assert (decision.allowed, decision.code) == (False, ReasonCode.BAD_REQUEST), name


def test_an_extra_attribute_denies() -> None:
    """A context with an attribute that the schema does not know is refused."""
    context = {**call_context(facts()), "is_admin": True}
    assert pdp(OPEN).decide(question(context=context)).code is ReasonCode.BAD_REQUEST


def test_a_stranger_matches_no_open_permit() -> None:
    """A principal that does not exist is denied under a permit for everyone."""
    decision = pdp(OPEN).decide(question(principal=EntityUid("Device", "stranger")))
    assert (decision.allowed, decision.code) == (False, ReasonCode.UNKNOWN_PRINCIPAL)


@pytest.mark.parametrize(
    "name", ["Read_File", "read_file ", "read_file\n", "r\u0435ad_file", "READ_FILE", ""]
)
def test_a_variant_of_a_tool_name_does_not_skip_a_forbid(name: str) -> None:
    """A tool name that differs in case, white space or script is unknown, so denied."""
    text = OPEN + 'forbid (principal, action, resource == Tool::"read_file");'
    decision = pdp(text).decide(question(resource=EntityUid("Tool", name)))
    assert (decision.allowed, decision.code) == (False, ReasonCode.UNKNOWN_RESOURCE)


@pytest.mark.parametrize(
    "value",
    [
        {"__entity": {"type": "Workspace", "id": "elsewhere"}},
        {"type": "Workspace", "id": "elsewhere"},
    ],
)
def test_a_workspace_that_does_not_exist_denies(value: object) -> None:
    """A context that refers to nothing is refused, in either of Cedar's spellings."""
    context = {**call_context(facts()), "workspace": value}
    assert pdp(OPEN).decide(question(context=context)).code is ReasonCode.UNKNOWN_ENTITY


def test_an_unknown_action_denies() -> None:
    """An action that the schema does not have is refused."""
    assert pdp(OPEN).decide(question(action="sudo")).code is ReasonCode.BAD_REQUEST


def test_the_wrong_kind_of_resource_denies() -> None:
    """A call of something that is no tool is refused."""
    decision = pdp(OPEN).decide(question(resource=uid("Daemon::stockade")))
    assert decision.code is ReasonCode.BAD_REQUEST


def test_entities_of_a_question_do_not_outlive_it() -> None:
    """A host given with one question is unknown to the next."""
    point = pdp(OPEN)
    host = HostEntity("api.example.com")
    context = {
        "tool": {"__entity": {"type": "Tool", "id": "publish"}},
        "port": 443,
        **{name: call_context(facts())[name] for name in ("time", "clock", "maintenance")},
    }
    asked = question(action="connect", resource=host.uid, context=context, entities=(host,))
    assert point.decide(asked).allowed
    assert point.decide(replace(asked, entities=())).code is ReasonCode.UNKNOWN_RESOURCE


def test_a_question_cannot_redefine_an_entity() -> None:
    """An entity given with a question does not replace the one in the store."""
    text = 'permit (principal in Group::"owners", action, resource);'
    impostor = DeviceEntity("dev-callers", "now an owner", ("owners",))
    assert not pdp(text).decide(question(entities=(impostor,))).allowed


def test_a_bad_id_in_a_question_denies() -> None:
    """An entity with an id that cannot be is a no, not an exception."""
    host = HostEntity("EXAMPLE.com.")
    decision = pdp(OPEN).decide(question(resource=host.uid, entities=(host,)))
    assert decision.code is ReasonCode.BAD_REQUEST


def test_an_engine_failure_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the engine raises, even a panic outside Exception, is a no."""

    class PanicException(BaseException):
        pass

    for failure in (ValueError("x"), RuntimeError("x"), MemoryError(), PanicException()):

        def fail(*_: object, error: BaseException = failure) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(cedarpy, "is_authorized", fail)
            decision = ask_call(pdp(OPEN), CALLER, "call")
        assert (decision.allowed, decision.code) == (False, ReasonCode.ENGINE_ERROR)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text() | st.sampled_from(["arguments", "time", "workspace"]), JSON))
def test_no_context_raises_or_is_allowed(context: dict[str, object]) -> None:
    """Any JSON at all as context: a no with a code, never an exception."""
    decision = default_pdp().decide(question(context=context))
    assert not decision.allowed


@given(st.text(), st.text(), st.text())
def test_no_name_raises(kind: str, name: str, action: str) -> None:
    """Any text as type, id or action: a no, never an exception."""
    point = default_pdp()
    assert not point.decide(question(principal=EntityUid(kind, name))).allowed
    assert not point.decide(question(resource=EntityUid(kind, name))).allowed
    assert not point.decide(question(action=action + "?")).allowed


def test_hostile_objects_do_not_raise() -> None:
    """Deep nesting, lone surrogates and foreign objects in a context are a no."""
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "\ud800", object(), float("nan"), {"__entity": 1}, {1: 2}, b"bytes"):
        for name in ("origin", "arguments", "workspace"):
            context = {**call_context(facts()), name: value}
            decision = pdp(OPEN).decide(question(context=context))
            assert (decision.allowed, decision.code) == (False, ReasonCode.BAD_REQUEST)


def test_an_agent_without_its_device_is_a_stranger() -> None:
    """Revoking a device takes its agents with it."""
    bundle = default_pdp().bundle
    left = [e for e in entities() if e.uid != uid(CALLER)]
    store = EntityStore.build(left, bundle.schema)
    assert store.orphans == (uid("Agent::bot"),)
    decision = ask_call(PDP(bundle, store), "Agent::bot", "call")
    assert decision.code is ReasonCode.UNKNOWN_PRINCIPAL


def test_entities_of_another_schema_are_refused() -> None:
    """A snapshot whose halves were checked against different schemas is never built."""
    other = Bundle.build({"a.cedar": ""}, load_base())
    with pytest.raises(SnapshotError) as caught:
        PDP(other, default_pdp().entities)
    assert caught.value.code == "SCHEMA_MISMATCH"


def test_policies_are_not_parsed_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine gets is a handle, never text."""
    point = pdp(OPEN)
    seen: list[object] = []
    real = cedarpy.is_authorized

    def spy(request: dict[str, object], *handles: object) -> object:
        seen.extend(handles)
        return real(request, *handles)  # type: ignore[arg-type] # the handles, whatever they are

    monkeypatch.setattr(cedarpy, "is_authorized", spy)
    assert ask_call(point, CALLER, "call").allowed
    assert len(seen) >= 3
    assert not any(isinstance(handle, str | list | dict) for handle in seen)


_DEEPEST = """
import threading, sys
from policy.bundle import Bundle
from policy.errors import BundleError
from policy.statements import MAX_DEPTH as D, MAX_WEIGHT as W
text = 'entity A; action a appliesTo {principal: [A], resource: [A]};'
bodies = [
    "(" * D + "&&".join(["true"] * W) + ")" * D, "!(" * D + "true" + ")" * D,
    "(" * 5000 + "true" + ")" * 5000, "!(" * 5000 + "true" + ")" * 5000, "[" * 5000 + "]" * 5000,
    "{a:" * 5000 + "1" + "}" * 5000, "if true then true else " * 5000 + "true",
    "||".join(["true"] * 20000), "context" + ".a" * 20000, 'context' + '["a"]' * 20000,
    "1" + "+1" * 20000 + " == 1", "(if true then true else " * 20 + "true" + ")" * 20,
    '"' + chr(92) + chr(10) + "(" * 5000 + "true" + ")" * 5000,
]
texts = ["permit(principal, action, resource) when { " + body + " };" for body in bodies]
texts += ["permit(principal, action, resource)" + " when { true }" * 20000 + ";", "(" * 100000]
def run():
    for one in texts:
        try:
            Bundle.build({"a.cedar": one}, text)
        except BundleError:
            pass
    print("alive")
threading.stack_size(2 * 1024 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_nested_policy_text_does_not_end_the_process() -> None:
    """Text nested so deep that the engine's stack would overflow is refused before it sees it."""
    done = subprocess.run(
        [sys.executable, "-c", _DEEPEST], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
