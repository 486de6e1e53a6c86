"""A lease's permit covers what the lease says, and no spelling of anything else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.world import World
from policy.arguments import to_context
from policy.contexts import CallFacts, call_context
from policy.lease import LeaseRefusedError, LeaseScope, permits
from policy.pdp import Decision, Question
from policy.risk import Tier
from policy.values import EntityUid
from tests.daemon.judging import CALLER, NOW, world

LEASE = "01970000-0000-7000-8000-00000000000a"
DEVICE = EntityUid("Device", CALLER.device_id)
DIGEST = "ab" * 32
WORLD = world()


def scope(tool: str, in_world: World = WORLD, **changes: Any) -> LeaseScope:
    found = in_world.registry.get(tool)
    assert found is not None
    made = LeaseScope(
        lease_id=LEASE,
        subjects=(DEVICE,),
        tool=tool,
        tool_digest=found.digest,
        tier="process",
        secrets=(),
        expires_ms=int((NOW + timedelta(hours=1)).timestamp() * 1000),
        exactly=None,
        bounds={},
    )
    return replace(made, **changes)


def decide(
    given_scope: LeaseScope,
    arguments: dict[str, object],
    *,
    in_world: World = WORLD,
    principal: EntityUid = DEVICE,
    time: datetime = NOW,
    tier: Tier = Tier.PROCESS,
    lease: str | None = LEASE,
    digest: str = DIGEST,
    tool: str = "",
) -> Decision:
    tool = tool or given_scope.tool
    facts = CallFacts(
        arguments=to_context(tool, in_world.translations[tool], arguments),
        risk=Decimal("0.2"),
        tier=tier,
        time=time,
        origin="here",
        lease=lease,
        arguments_digest=digest,
    )
    [permit] = permits(given_scope, in_world.translations[given_scope.tool], in_world.bundle.schema)
    question = Question(principal, "call_unattended", EntityUid("Tool", tool), call_context(facts))
    return in_world.pdp.decide_with(question, permit)


WRITE = {"path": {"below": "notes/todo"}, "content": {"any": True}, "workspace": {"is": "w"}}
COVERED: dict[str, object] = {"path": "notes/todo", "content": "x", "workspace": "w"}


def test_a_lease_permits_what_it_covers_and_is_named() -> None:
    """The permit answers the question, and the reason is the lease."""
    decision = decide(scope("write_file", bounds=WRITE), COVERED)
    assert decision.allowed
    assert [ref.id for ref in decision.reasons] == [f"lease:{LEASE}"]


@pytest.mark.parametrize(
    "path",
    [
        "notes/todo/../../etc/passwd",
        "notes/todo/..",
        "notes/todo/a/../../../x",
        "notes/todolist",
        "notes/tod",
        "notes/todo2/x",
        "Notes/todo/x",
        "notes//todo/x",
        "./notes/todo/x",
        "/notes/todo/x",
        " notes/todo/x",
        "notes/todo ",
        "notes\\todo\\x",
        "n\u043etes/todo/x",  # a Cyrillic letter
        "notes/to\u0064\u0301o/x",
        "",
        "*",
    ],
)
def test_a_path_below_is_below(path: str) -> None:
    """No spelling climbs out, stops early, differs in case or script, or is a pattern."""
    assert not decide(scope("write_file", bounds=WRITE), {**COVERED, "path": path}).allowed


@pytest.mark.parametrize(
    "path", ["notes/todo/a", "notes/todo/a/b.txt", "notes/todo/..a", "notes/todo/a..b"]
)
def test_what_is_below_is_covered(path: str) -> None:
    """A name with dots in it climbs nowhere."""
    assert decide(scope("write_file", bounds=WRITE), {**COVERED, "path": path}).allowed


def test_a_star_in_a_lease_is_a_star() -> None:
    """A value of the lease is never a pattern."""
    starred = {**WRITE, "path": {"below": "a*b"}}
    assert decide(scope("write_file", bounds=starred), {**COVERED, "path": "a*b/c"}).allowed
    assert not decide(scope("write_file", bounds=starred), {**COVERED, "path": "axxb/c"}).allowed


def test_what_is_not_named_may_not_be_given() -> None:
    """An optional argument that the lease does not name must be absent."""
    only = {"path": {"any": True}, "content": {"any": True}, "workspace": {"is": "w"}}
    assert decide(scope("write_file", bounds=only), COVERED).allowed
    more = {"command": {"is": "ls"}}
    assert decide(scope("run_shell", bounds=more), {"command": "ls"}).allowed
    assert not decide(scope("run_shell", bounds=more), {"command": "ls", "workspace": "w"}).allowed


def test_what_is_optional_and_named_is_bounded() -> None:
    """An optional argument that the lease names may be absent, or as it says."""
    bounds = {"command": {"is": "ls"}, "workspace": {"is": "w"}}
    assert decide(scope("run_shell", bounds=bounds), {"command": "ls"}).allowed
    assert decide(scope("run_shell", bounds=bounds), {"command": "ls", "workspace": "w"}).allowed
    assert not decide(
        scope("run_shell", bounds=bounds), {"command": "ls", "workspace": "x"}
    ).allowed


@pytest.mark.parametrize(
    "changed",
    [
        {"principal": EntityUid("Device", "dev-aaaaaaaaaaaaaaaa")},
        {"time": NOW + timedelta(hours=1)},
        {"time": datetime(2099, 1, 1, tzinfo=UTC)},
        {"tier": Tier.CONTAINER},
        {"lease": None},
        {"lease": "01970000-0000-7000-8000-00000000000b"},
    ],
)
def test_a_lease_is_bounded_by_all_it_names(changed: dict[str, Any]) -> None:
    """Another caller, a later time, another tier, another lease or none: no permit."""
    assert not decide(scope("write_file", bounds=WRITE), COVERED, **changed).allowed


def test_a_tool_that_changed_is_another() -> None:
    """The digest of the tool is part of the permit."""
    other = scope("write_file", bounds=WRITE, tool_digest="00" * 32)
    assert not decide(other, COVERED).allowed


def test_exact_arguments_are_matched_by_their_digest() -> None:
    """Whatever the arguments are made of: one set of them, and no other."""
    exact = scope("write_file", bounds=None, exactly=DIGEST)
    assert decide(exact, COVERED).allowed
    assert not decide(exact, COVERED, digest="cd" * 32).allowed


@pytest.mark.parametrize(
    "text",
    [
        'forbid (principal, action == Action::"call_unattended", resource);',
        'forbid (principal, action in Action::"call_unattended", resource);',
        'forbid (principal, action, resource == Tool::"write_file");',
    ],
)
def test_any_forbid_wins(text: str) -> None:
    """A lease is a permit among others: what forbids, forbids it, too."""
    strict = world(text)
    decision = decide(scope("write_file", strict, bounds=WRITE), COVERED, in_world=strict)
    assert not decision.allowed
    assert [ref.file for ref in decision.reasons] == ["extra.cedar"]


def test_a_policy_in_error_is_a_no() -> None:
    """With a lease as without."""
    failing = world(
        'forbid (principal, action == Action::"call_unattended", resource)'
        " when { 9223372036854775807 + 1 == 0 };"
    )
    decision = decide(scope("write_file", failing, bounds=WRITE), COVERED, in_world=failing)
    assert not decision.allowed


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"path": {"any": True}},
        {**WRITE, "nothing": {"any": True}},
        {**WRITE, "path": {"from": 1, "to": 2}},
        {**WRITE, "path": {"is": True}},
    ],
)
def test_what_cannot_be_said_exactly_is_refused(bounds: dict[str, Any]) -> None:
    """A required argument left open, an unknown one, a bound of another type: no permit is made."""
    with pytest.raises(LeaseRefusedError):
        permits(
            scope("write_file", bounds=bounds),
            WORLD.translations["write_file"],
            WORLD.bundle.schema,
        )


TEXTS = st.text(min_size=1, max_size=20).filter(
    lambda t: t.isprintable() and not any(0xD800 <= ord(c) < 0xE000 for c in t)
)


@given(wanted=TEXTS, sent=TEXTS)
def test_exactly_is_exactly(wanted: str, sent: str) -> None:
    """Whatever characters are in it, "exactly" covers that text and no other."""
    bounds = {**WRITE, "path": {"is": wanted}}
    for path in (wanted, sent):
        decision = decide(scope("write_file", bounds=bounds), {**COVERED, "path": path})
        assert decision.allowed is (path == wanted)


@given(wanted=TEXTS.filter(lambda t: "/" not in t and t not in (".", "..")), sent=TEXTS)
def test_below_is_by_parts(wanted: str, sent: str) -> None:
    """Whatever characters are in it, "below" goes by whole parts of the path."""
    bounds = {**WRITE, "path": {"below": wanted}}
    for path in (wanted, sent, f"{wanted}/{sent}", wanted + sent):
        parts = path.split("/")
        below = path == wanted or (parts[0] == wanted and ".." not in parts)
        decision = decide(scope("write_file", bounds=bounds), {**COVERED, "path": path})
        assert decision.allowed is below
