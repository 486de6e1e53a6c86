"""A decision in words."""

import json

from policy.contexts import call_context
from policy.explain import to_json, to_lines
from policy.pdp import Question, ReasonCode
from policy.values import EntityUid
from tests.policy.world import default_pdp, facts, uid

SECRET = "hunter2-in-an-argument"
ASKED = Question(
    uid("Device::dev-owners"),
    "call",
    uid("Tool::run_shell"),
    call_context(facts("run_shell", {"command": SECRET}, workspace="docs")),
)


def test_an_explanation_names_the_policy_and_its_line() -> None:
    """A person finds the rule that decided."""
    decision = default_pdp().decide(ASKED)
    (ref,) = decision.reasons
    lines = to_lines(ASKED, decision)
    assert lines[0] == 'may Device::"dev-owners" call Tool::"run_shell"?'
    assert lines[1] == "no: forbidden by (FORBIDDEN)"
    assert lines[2] == f"  read-only-workspace  calls.cedar:{ref.line}"


def test_an_explanation_shows_no_argument() -> None:
    """An argument may hold what must not be logged."""
    decision = default_pdp().decide(ASKED)
    assert SECRET not in json.dumps(to_json(ASKED, decision))
    assert SECRET not in "".join(to_lines(ASKED, decision))


def test_an_explanation_is_json_without_floats() -> None:
    """What a receipt or `--json` gets."""
    decision = default_pdp().decide(ASKED)
    assert to_json(ASKED, decision) == {
        "principal": 'Device::"dev-owners"',
        "action": "call",
        "resource": 'Tool::"run_shell"',
        "allowed": False,
        "code": "FORBIDDEN",
        "policies": [
            {
                "id": "read-only-workspace",
                "file": "calls.cedar",
                "line": decision.reasons[0].line,
            }
        ],
        "errors": [],
        "bundle": default_pdp().bundle.digest,
    }


def test_a_name_cannot_move_the_cursor() -> None:
    """Control and bidirectional characters of a stranger's name are escaped."""
    asked = Question(EntityUid("Device", "x\x1b[2J\u202e\n"), "call", uid("Tool::run_shell"), {})
    decision = default_pdp().decide(asked)
    assert decision.code is ReasonCode.UNKNOWN_PRINCIPAL
    assert all(line.isprintable() for line in to_lines(asked, decision))
