"""Policy tests: what is expected is found, or it is said what was; a typo never passes."""

import json
from pathlib import Path

import pytest

from daemon.inquiry.expectations import MAX_TESTS, parse_tests
from stockade.client import Client
from stockade.v1 import policy_pb2
from tests.operating.acting import folder, in_folder
from tests.promises.acting import add_tool, policy
from tests.running import RunningDaemon

CALLER = 'groups = ["callers"]\n'
SHELL = CALLER + 'tool = "run_shell"\narguments = { command = "id" }\n'


def one(text: str, name: str = "a test") -> str:
    return f'[[test]]\nname = "{name}"\n{text}'


def problems(text: str, name: str = "a.test.toml") -> list[tuple[int, str]]:
    """Lines and messages of what is wrong with a file."""
    tests, wrong = parse_tests([(name, text)])
    assert not (tests and wrong)
    assert all(problem.code == "TESTS_INVALID" and problem.fix for problem in wrong)
    return [(problem.line, problem.message) for problem in wrong]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("expect = 'asked'", "needs `groups` or `by`"),
        ("groups = []\nby = 'device/x'\ntool = 't'\nexpect = 'asked'", "needs `groups` or `by`"),
        (CALLER + "expect = 'asked'", "needs `tool` or `action`"),
        (CALLER + "tool = 't'\naction = 'a'\nexpect = 'denied'", "needs `tool` or `action`"),
        (SHELL, "expect"),
        (SHELL + "expect = 'allowed'", "expect"),
        (SHELL + "expect = 'approved'", "`expect` is one of asked, denied, unattended"),
        (SHELL + "approved_by = [[]]\nexpect = 'unattended'", "one of approved, asked, denied"),
        (CALLER + "action = 'apply_policy'\nexpect = 'asked'", "one of denied, permitted"),
        (CALLER + "action = 'a'\ntier = 'process'\nexpect = 'denied'", "of calls, not of acts"),
        (SHELL + "expect = 'asked'\ntier = 'vm'", "tier"),
        (SHELL + "expect = 'asked'\nexpected = 'denied'", "there is no such key"),
        (SHELL + "expect = 'asked'\nmaintenance = 'on'", "maintenance"),
        (SHELL + "expect = 'asked'\ntime = '2026-01-01'", "time"),
        (SHELL + "expect = 'asked'\nagent = 1", "agent"),
        ("by = 'laptop'\ntool = 't'\nexpect = 'asked'", "by"),
        ("by = 'device/x'\nagent = true\ntool = 't'\nexpect = 'asked'", "`agent` is for `groups`"),
        (SHELL + "expect = 'asked'\napproved_by = ['phone']", "approved_by"),
    ],
)
def test_what_is_no_test_is_refused_by_line_and_key(text: str, said: str) -> None:
    """A misspelt key, a word that means nothing, two answers at once: no test of them runs."""
    good = one(SHELL + 'expect = "asked"\n', "good")
    [(line, message), *_] = problems(good + "\n# below\n" + one(text))
    assert line == good.count("\n") + 3
    assert said in message


@pytest.mark.parametrize(
    ("text", "line"),
    [("[[test]", 1), ("\n\nname = 'a' b", 3), ("tests = []", 0), ("[[test]]\nname = ''", 1)],
)
def test_what_is_no_file_of_tests(text: str, line: int) -> None:
    """Not TOML, an unknown table, a test without a name."""
    assert line in [found for found, _ in problems(text)]


def test_sizes_are_bounded() -> None:
    """So many tests, so many bytes, and names that say what they are."""
    many = one(SHELL + 'expect = "asked"\n') * (MAX_TESTS + 1)
    assert "too many tests" in parse_tests([("a.test.toml", many)])[1][0].message
    assert problems(" " * 1024 * 1025)
    for name in ("a.toml", "../a.test.toml", ".test.toml", "a.test.toml\n"):
        assert problems("", name)
    assert len(parse_tests([(f"{n}.test.toml", "") for n in range(65)])[1]) == 1


def results(
    client: Client, text: str, source: policy_pb2.PolicySource | None = None
) -> list[policy_pb2.TestPolicyResponse.Result]:
    """The results of a file of tests by a set."""
    file = policy_pb2.PolicyFile(name="a.test.toml", text=text)
    answer = client.test_policy([file], source)
    assert not answer.problems, answer.problems
    return list(answer.results)


@pytest.mark.parametrize(
    "text",
    [
        SHELL + 'expect = "asked"\ntier = "process"\ncode = "APPROVAL_REQUIRED"',
        SHELL + 'approved_by = [["approvers"]]\nexpect = "approved"\npolicies = ["one-approver"]',
        SHELL + 'approved_by = [["callers"]]\nexpect = "asked"',
        SHELL + 'approved_by = []\nexpect = "asked"',
        SHELL + 'maintenance = true\nexpect = "denied"\npolicies = ["maintenance"]',
        SHELL + 'agent = true\nexpect = "asked"',
        SHELL.replace("callers", "owners") + 'maintenance = true\nexpect = "asked"',
        SHELL.replace('"callers"', "") + 'expect = "denied"\ncode = "NOT_PERMITTED"',
        CALLER + 'tool = "list_files"\narguments.workspace = "work"\nexpect = "unattended"',
        CALLER + 'tool = "write_file"\nexpect = "denied"\ncode = "FORBIDDEN"\n'
        'arguments = { workspace = "docs", path = "a", content = "b" }',
        'by = "device/local"\naction = "apply_policy"\nexpect = "permitted"',
        'groups = ["operators"]\naction = "apply_policy"\nexpect = "denied"',
        'groups = ["operators"]\nagent = true\naction = "list_devices"\nexpect = "denied"',
    ],
)
def test_the_default_policy_by_tests_of_its_own(owner: Client, text: str) -> None:
    """Every kind of request has its answer, by people there might be."""
    [result] = results(owner, one(text))
    assert result.passed, result


def test_the_tests_that_come_with_the_default_policy(shared_daemon: RunningDaemon) -> None:
    """A new home has them beside the policies, and they pass."""
    shown = shared_daemon.cli("policy", "test")
    assert shown.status == 0, shown.out + shown.err
    assert shown.out == "13 tests: 13 passed, 0 failed\n"


def test_what_differs_is_said(owner: Client) -> None:
    """Each expectation that is not met, with what was found and by which policy."""
    text = one(SHELL + 'expect = "denied"\ntier = "gvisor"\ncode = "FORBIDDEN"\npolicies = ["x"]')
    [result] = results(owner, text)
    assert not result.passed
    assert [(d.what, d.expected, d.found) for d in result.differences] == [
        ("expect", "denied", "asked"),
        ("tier", "gvisor", "process"),
        ("code", "FORBIDDEN", "APPROVAL_REQUIRED"),
        ("policies", "x", "none"),
    ]
    assert (result.file, result.line, result.name) == ("a.test.toml", 1, "a test")
    assert "asked" in result.found


@pytest.mark.parametrize(
    "text",
    [
        CALLER + 'tool = "run_shel"\nexpect = "denied"',
        CALLER + 'tool = "run_shell"\nexpect = "denied"',
        CALLER + 'tool = "list_files"\narguments.workspace = "nowhere"\nexpect = "denied"',
        'by = "device/nobody"\naction = "apply_policy"\nexpect = "denied"',
        'groups = ["Callers"]\naction = "apply_policy"\nexpect = "denied"',
    ],
)
def test_a_denial_that_was_not_policys_does_not_pass(owner: Client, text: str) -> None:
    """What cannot be (a tool, an argument, a device, a group) fails its test: it is no denial."""
    [result] = results(owner, one(text))
    assert not result.passed
    assert result.differences[0].what == "test"


def test_a_workspace_that_there_need_not_be(owner: Client) -> None:
    """Tests bring workspaces of their own, so that they are the same on every machine."""
    text = '[workspaces]\nelsewhere = "read"\nthere = "write"\n' + "".join(
        one(
            CALLER + f'tool = "write_file"\nexpect = "{expect}"\n'
            f'arguments = {{ workspace = "{name}", path = "a", content = "b" }}\n'
        )
        for name, expect in (("elsewhere", "denied"), ("there", "asked"), ("docs", "denied"))
    )
    assert [result.passed for result in results(owner, text)] == [True, True, True]


def test_the_hour_is_the_operators(owner: Client) -> None:
    """A time without a zone is by the operator's clock; one with a zone is that moment."""
    night = (
        '@id("night") forbid (principal, action == Action::"call", resource) '
        "when { context.clock.hour >= 22 };"
    )
    with policy(owner, night):
        times = (("2026-12-24T21:59:00", "asked"), ("2026-12-24T22:00:00", "denied"))
        zoned = (("2026-12-25T00:30:00+02:00", "denied"), ("2026-12-24T22:30:00+02:00", "asked"))
        for time, expect in (*times, *zoned):
            [result] = results(owner, one(SHELL + f'time = {time}\nexpect = "{expect}"'))
            assert result.passed, (time, result.found)


def test_a_candidate_is_tested_and_not_applied(owner: Client, tmp_path: Path) -> None:
    """The set in the folder answers; the one in force is what it was."""
    before = owner.status().policy_version
    at = folder(tmp_path / "candidate", 'forbid (principal, action == Action::"call", resource);')
    source = policy_pb2.PolicySource(files=policy_pb2.PolicyFiles(files=in_folder(at)))
    text = one(SHELL + 'expect = "denied"\ncode = "FORBIDDEN"')
    assert results(owner, text, source)[0].passed
    assert not results(owner, text)[0].passed
    assert owner.status().policy_version == before


def test_nothing_is_asked_of_a_set_that_is_not_valid(owner: Client, tmp_path: Path) -> None:
    """What is wrong with set or tests is said, with file and line, instead of results."""
    at = folder(tmp_path / "bad", "permit (")
    source = policy_pb2.PolicySource(files=policy_pb2.PolicyFiles(files=in_folder(at)))
    file = policy_pb2.PolicyFile(name="a.test.toml", text=one("expect = 1"))
    answer = owner.test_policy([file], source)
    assert not answer.results
    assert {problem.file for problem in answer.problems} == {"extra.cedar", "a.test.toml"}


def test_a_test_does_not_depend_on_what_the_machine_can(owner: Client) -> None:
    """A tool for gVisor is asked about as if gVisor worked: the tier is policy's answer."""
    add_tool(
        owner,
        "risky",
        ["/bin/true"],
        sensitivity="1.0",
        rest="[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n",
    )
    text = one(CALLER + 'tool = "risky"\nexpect = "asked"\ntier = "gvisor"')
    assert results(owner, text)[0].passed
    owner.remove_tool("risky")


def test_the_command_line(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """A readable difference, a count, and a status that a pipeline can use."""
    at = folder(tmp_path / "policies", files={"a.test.toml": one(SHELL + 'expect = "asked"')})
    applied = shared_daemon.cli("policy", "apply", "--test", str(at))
    assert applied.status == 0
    assert "in force: version " in applied.out
    good = shared_daemon.cli("policy", "test", str(at))
    assert (good.status, good.out) == (0, "1 test: 1 passed, 0 failed\n")
    wrong = one(SHELL + 'expect = "denied"', "nobody runs a shell")
    folder(at, files={"b.test.toml": wrong})
    bad = shared_daemon.cli("policy", "test", str(at))
    assert bad.status == 1
    assert bad.out.splitlines() == [
        "b.test.toml:1: nobody runs a shell",
        "  - expect    denied",
        "  + expect    asked",
        "  found asked (APPROVAL_REQUIRED)",
        "2 tests: 1 passed, 1 failed",
    ]
    document = json.loads(shared_daemon.cli("policy", "test", str(at), "--json").out)
    assert [result["passed"] for result in document["results"]] == [True, False]
    version = json.loads(shared_daemon.cli("policy", "history", "--json").out)["versions"][0]
    refused = shared_daemon.cli("policy", "apply", "--test", str(at))
    assert (refused.status, "nothing was applied" in refused.err) == (1, True)
    assert "+ expect    asked" in refused.out
    after = json.loads(shared_daemon.cli("policy", "history", "--json").out)["versions"][0]
    assert after == version
    folder(at, files={"b.test.toml": one("expect = 1")})
    broken = shared_daemon.cli("policy", "test", str(at))
    assert broken.status == 1
    assert broken.err.startswith("b.test.toml:1: TESTS_INVALID")
    none = folder(tmp_path / "none")
    assert shared_daemon.cli("policy", "test", str(none)).status == 2
    in_force = shared_daemon.cli("policy", "test", str(at), "--policies", "99")
    assert in_force.status == 1
