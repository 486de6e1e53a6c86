"""What an operator can get wrong, on a running daemon: refused with its place, nothing changed.

After each, the same set is in force and calls go on. What is no policy file at all is met by the
command line (tests/stockade/test_policy_check.py) and by a start (test_no_valid_policy.py).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import BadRequest, StockadeError
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import folder, join
from tests.promises.acting import add_tool, policy, policy_files, run
from tests.running import RunningDaemon, finished

CALL = 'principal, action == Action::"call", resource'
NUMBER = '[input.properties.number]\ntype = "integer"\n'


@pytest.fixture(scope="module", autouse=True)
def tools(owner: Client) -> None:
    add_tool(owner, "counted", ["/bin/true"], rest=NUMBER)


@pytest.fixture
def serving(owner: Client) -> Iterator[None]:
    """The set in force is the same afterwards, and still permits what it permitted."""
    before = owner.status()
    yield
    after = owner.status()
    assert (after.policy_digest, after.policy_version) == (
        before.policy_digest,
        before.policy_version,
    )
    assert after.policy_state == "ok"
    assert finished(run(owner, "counted")).state == call_pb2.CALL_STATE_SUCCEEDED


NAMES = "permit (principal in Group::{}, action, resource);"
INVALID, IMPOSSIBLE, HIDDEN = "POLICY_INVALID", "IMPOSSIBLE_ID", "HIDDEN_CHARACTER"
TEXT_FOR_NUMBER = (
    f"permit ({CALL}) when {{ context.arguments has counted &&"
    ' context.arguments.counted has number && context.arguments.counted.number == "1" };'
)
BAD = {
    "unparsable": ("permit (", "POLICY_SYNTAX"),
    "unparsable further on": (f"permit ({CALL}) when {{ context. }};", "POLICY_SYNTAX"),
    "not Cedar": ('{"effect": "permit"}', "POLICY_SYNTAX"),
    "unknown action": ('permit (principal, action == Action::"cal", resource);', INVALID),
    "attribute that may be missing": (
        f'permit ({CALL}) when {{ context.workspace == Workspace::"docs" }};',
        "POLICY_INVALID",
    ),
    "attribute that there is not": (f"permit ({CALL}) when {{ principal.nam == 1 }};", INVALID),
    "argument of another type": (TEXT_FOR_NUMBER, INVALID),
    "literal beyond 64 bits": (
        f"permit ({CALL}) when {{ context.clock.hour == 9223372036854775808 }};",
        "POLICY_SYNTAX",
    ),
    "annotation typo": (f'@Id("x") permit ({CALL});', "ANNOTATION_TYPO"),
    "duplicate id": (f'@id("a") permit ({CALL}); @id("a") forbid ({CALL});', "DUPLICATE_ID"),
    "id of another file": (f'@id("call-known-tools") permit ({CALL});', "DUPLICATE_ID"),
    "id that is none": (f'@id("a b") permit ({CALL});', "BAD_POLICY_ID"),
    "template": ("permit (principal == ?principal, action, resource);", "TEMPLATE_REFUSED"),
    "look-alike letter": (NAMES.format('"\u043ewners"'), IMPOSSIBLE),  # a Cyrillic o
    "decomposed letter": (NAMES.format('"owne\u0301rs"'), IMPOSSIBLE),
    "full-width letter": (NAMES.format('"\uff4fwners"'), IMPOSSIBLE),
    "look-alike as an escape": (NAMES.format('"\\u{43e}wners"'), IMPOSSIBLE),
    "another case": (NAMES.format('"Owners"'), IMPOSSIBLE),
    "white space": (NAMES.format('"owners "'), IMPOSSIBLE),
    "zero-width space": (NAMES.format('"owners\u200b"'), HIDDEN),
    "bidirectional mark": (f"permit ({CALL}); // \u202e", HIDDEN),
    "too deep": (f"permit ({CALL}) when {{ {'(' * 400}true{')' * 400} }};", "POLICY_TOO_COMPLEX"),
    "too many operators": (
        f"permit ({CALL}) when {{ {' && '.join(['true'] * 5000)} }};",
        "POLICY_TOO_COMPLEX",
    ),
}


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_bad_policy_is_refused_with_file_line_and_reason(
    owner: Client, text: tuple[str, str]
) -> None:
    """Whatever is wrong, and with good policies beside it: no part of the set comes into force."""
    policies, code = text
    files = policy_files(f"// line 1\n\n{policies}")
    found = owner.check_policy(files)
    errors = [one for one in found.problems if one.severity == "error"]
    assert (errors[0].file, errors[0].line, errors[0].code) == ("extra.cedar", 3, code)
    assert errors[0].message
    assert errors[0].fix
    assert found.digest == ""
    with pytest.raises(BadRequest) as caught:
        owner.apply_policy(files)
    assert caught.value.reason == "POLICY_INVALID"
    assert "extra.cedar:3" in caught.value.message


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    "files",
    [
        [],
        [policy_pb2.PolicyFile(name="readme.md", text="# policies")],
        [policy_pb2.PolicyFile(name="../x.cedar", text="")],
        [policy_pb2.PolicyFile(name=f"f{n}.cedar", text="") for n in range(300)],
        [policy_pb2.PolicyFile(name="a.cedar", text="// x\n" * 300_000)],
    ],
    ids=["no file", "other files", "path", "too many files", "1.5 MB"],
)
def test_a_set_of_something_else_is_refused(
    owner: Client, files: list[policy_pb2.PolicyFile]
) -> None:
    """No files, files of another kind, too many, one too large: nothing is taken for 'deny all'."""
    with pytest.raises(BadRequest):
        owner.apply_policy(files)


@pytest.mark.usefixtures("serving")
def test_a_file_of_5_megabytes_is_refused(
    shared_daemon: RunningDaemon, owner: Client, tmp_path: Path
) -> None:
    """By the command line with its name, before it is sent; by the daemon if it is sent."""
    place = folder(tmp_path / "policies", files={"large.cedar": "// x\n" * 1024 * 1024})
    done = shared_daemon.cli("policy", "apply", str(place))
    assert done.status == 2
    assert "large.cedar: larger than" in done.err
    done = shared_daemon.cli("policy", "check", str(place))
    assert done.status == 1
    assert "large.cedar: POLICY_UNREADABLE" in done.err
    with pytest.raises(StockadeError):
        owner.apply_policy([policy_pb2.PolicyFile(name="large.cedar", text="// x\n" * 1024 * 1024)])


def test_an_overflow_at_run_time_is_a_no(owner: Client) -> None:
    """A policy that cannot be evaluated denies the call it applies to, by name, and no other."""
    text = (
        f'@id("sum") forbid ({CALL}) when {{ context.arguments has counted &&'
        " context.arguments.counted has number &&"
        " context.arguments.counted.number * 9007199254740991 < 0 };"
    )
    with policy(owner, text):
        end = finished(run(owner, "counted", number=2**53 - 1))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "EVALUATION_ERROR")
        assert "`sum`" in end.message
        assert str(2**53 - 1) not in end.message
        assert finished(run(owner, "counted", number=1)).state == call_pb2.CALL_STATE_SUCCEEDED
        assert finished(run(owner, "counted", number=2**63)).reason == "ARGUMENTS_MALFORMED"


@pytest.mark.usefixtures("serving")
def test_groups_in_a_circle_are_refused(owner: Client) -> None:
    """Nothing is in itself, however long the way around."""
    with pytest.raises(BadRequest) as caught:
        owner.change_entities([join("Group/a", "Group/b"), join("Group/b", "Group/a")])
    assert caught.value.reason == "ENTITY_CYCLE"
