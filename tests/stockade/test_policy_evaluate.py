"""`stockade policy evaluate`: a workbench on files, without a daemon."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stockade.conftest import Stockade

POLICIES = """\
permit (principal in G::"g", action == Action::"read", resource);
forbid (principal, action, resource) when { context.amount + 9223372036854775807 < 0 };
permit (principal == ?principal, action, resource);
permit (principal == U::"ann", action, resource is R);
"""
SCHEMA = """\
entity G; entity U in [G]; entity R;
action read appliesTo { principal: [U], resource: [R], context: { amount: Long } };
"""
ENTITIES = [{"uid": {"type": "U", "id": "ann"}, "attrs": {}, "parents": [{"type": "G", "id": "g"}]}]


def request(who: str, amount: int, **more: object) -> dict[str, object]:
    return {
        "principal": {"type": "U", "id": who},
        "action": {"type": "Action", "id": "read"},
        "resource": {"type": "R", "id": "r"},
        "context": {"amount": amount},
        **more,
    }


REQUESTS = [request("ann", 0), request("ann", 1), request("bob", 0), request("bob", 0, context={})]


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, Path]:
    written = {
        "policies": ("p.cedar", POLICIES),
        "entities": ("e.json", json.dumps(ENTITIES)),
        "schema": ("s.cedarschema", SCHEMA),
        "requests": ("r.json", json.dumps(REQUESTS)),
    }
    found = {name: tmp_path / file for name, (file, _) in written.items()}
    for name, (_, text) in written.items():
        found[name].write_text(text)
    return found


def options(files: Mapping[str, Path]) -> list[str]:
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_line_per_request(stockade: Stockade, files: Mapping[str, Path]) -> None:
    """Decision, determining policies and policies in error, under the names the engine gives."""
    done = stockade("policy", "evaluate", *options(files), "--json")
    assert done.status == 0
    answers = lines(done.out)
    assert [one["decision"] for one in answers] == ["allow", "allow", "deny", "none"]
    assert [one["reasons"] for one in answers] == [["policy0", "policy3"]] * 2 + [[], []]
    assert [one["errors"] for one in answers] == [[], ["policy1"], [], []]
    assert "overflow" in answers[1]["messages"][0]
    assert answers[3]["messages"]


def test_for_people(stockade: Stockade, files: Mapping[str, Path]) -> None:
    """Without --json the same, in words; a policy in error with what the engine says of it."""
    out = stockade("policy", "evaluate", *options(files)).out
    assert out.startswith("request 0: allow by policy0, policy3\nrequest 1: allow by")
    assert "error while evaluating policy `policy1`" in out


def test_a_set_in_json_brings_its_links(stockade: Stockade, files: Mapping[str, Path]) -> None:
    """A policy linked from a template answers under its own name."""
    everything = {"op": "All"}
    linked = {
        "staticPolicies": {},
        "templates": {
            "t": {
                "effect": "permit",
                "principal": {"op": "==", "slot": "?principal"},
                "action": everything,
                "resource": everything,
                "conditions": [],
            }
        },
        "templateLinks": [
            {
                "templateId": "t",
                "newId": "for-bob",
                "values": {"?principal": {"type": "U", "id": "bob"}},
            }
        ],
    }
    path = files["policies"].with_suffix(".json")
    path.write_text(json.dumps(linked))
    done = stockade("policy", "evaluate", *options({**files, "policies": path}), "--json")
    assert [one["reasons"] for one in lines(done.out)] == [[], [], ["for-bob"], []]


def _case(folder: Path, name: str, *requests: dict[str, object]) -> None:
    """A case in the corpus's shape."""
    names = {
        "policies": f"corpus-tests/{name}.cedar",
        "entities": f"corpus-tests/{name}.entities.json",
        "schema": f"corpus-tests/{name}.cedarschema",
    }
    (folder / f"{name}.json").write_text(json.dumps({**names, "requests": requests}))
    (folder / f"{name}.cedar").write_text(POLICIES)
    (folder / f"{name}.entities.json").write_text(json.dumps(ENTITIES))
    (folder / f"{name}.cedarschema").write_text(SCHEMA)


RIGHT = request("ann", 1, decision="allow", reason=["policy3", "policy0"], errors=["policy1"])


def test_a_corpus_that_agrees(stockade: Stockade, tmp_path: Path) -> None:
    """Every case of a folder is asked; all as expected is status 0."""
    _case(tmp_path, "one", RIGHT, request("bob", 0, decision="deny", reason=[], errors=[]))
    _case(tmp_path, "two", RIGHT)
    done = stockade("policy", "evaluate", "--corpus", str(tmp_path))
    assert (done.status, done.out) == (0, "")
    assert "2 cases, 3 requests: all agree" in done.err


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({**RIGHT, "decision": "deny"}, "decision"),
        ({**RIGHT, "reason": ["policy0"]}, "reasons"),
        ({**RIGHT, "errors": []}, "errors"),
    ],
)
def test_every_disagreement_is_named(
    stockade: Stockade, tmp_path: Path, wrong: dict[str, object], part: str
) -> None:
    """One part of one answer that is another one: status 1, with case, request and part."""
    _case(tmp_path, "good", RIGHT)
    _case(tmp_path, "bad", RIGHT, {**wrong, "description": "the second"}, wrong)
    done = stockade("policy", "evaluate", "--corpus", str(tmp_path), "--json")
    assert done.status == 1
    (summary,) = lines(done.out)
    assert [(one["case"], one["request"]) for one in summary["disagreements"]] == [
        ("bad", "the second"),
        ("bad", "request 2"),
    ]
    assert all(one["why"].startswith(f"{part}: expected") for one in summary["disagreements"])
    assert (
        f"bad: the second: {part}:" in stockade("policy", "evaluate", "--corpus", str(tmp_path)).out
    )


def test_a_case_that_cannot_be_read_is_a_disagreement(stockade: Stockade, tmp_path: Path) -> None:
    """A case with a file missing or broken does not pass for one that agrees."""
    _case(tmp_path, "broken", RIGHT)
    _case(tmp_path, "cut", RIGHT)
    (tmp_path / "broken.cedar").write_text("permit (")
    (tmp_path / "cut.entities.json").unlink()
    done = stockade("policy", "evaluate", "--corpus", str(tmp_path))
    assert done.status == 1
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["broken", "cut"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("policies", b"permit (", "BAD_POLICIES"),
        ("policies", b"\xff", "USAGE"),
        ("entities", b"{", "BAD_ENTITIES"),
        ("schema", b"entity ;", "SCHEMA_INVALID"),
        ("requests", b'{"requests": [{}]}', "BAD_REQUESTS"),
        ("requests", b"[1]", "BAD_REQUESTS"),
        ("requests", None, "USAGE"),
    ],
)
def test_a_wrong_file_is_named(
    stockade: Stockade, files: Mapping[str, Path], name: str, content: bytes | None, code: str
) -> None:
    """What is no policy, entity, schema or request ends with 2 and says which."""
    files[name].unlink() if content is None else files[name].write_bytes(content)
    done = stockade("policy", "evaluate", *options(files))
    assert done.status == 2
    assert f"error: {code}:" in done.err
    assert "Traceback" not in done.err


DEEP = 30_000


def chain(kind: str, length: int) -> Iterator[dict[str, object]]:
    """Groups, each in the next, their names written in one way or the other."""

    def name(number: int) -> dict[str, object]:
        uid: dict[str, object] = {"type": "G", "id": str(number)}
        return uid if kind == "uid" else {"__entity": uid}

    for number in range(length):
        yield {"uid": name(number), "attrs": {}, "parents": [name(number + 1)]}


def test_a_long_way_up_is_gone(stockade: Stockade, files: Mapping[str, Path]) -> None:
    """Of what may be nested, the bench still answers."""
    top: dict[str, object] = {"uid": {"type": "G", "id": "200"}, "attrs": {}, "parents": []}
    ann = {**ENTITIES[0], "parents": [{"type": "G", "id": "0"}]}
    files["entities"].write_text(json.dumps([ann, *chain("uid", 200), top]))
    files["policies"].write_text('permit (principal in G::"200", action, resource);')
    files["schema"].write_text(SCHEMA.replace("entity G;", "entity G in [G];"))
    done = stockade("policy", "evaluate", *options(files), "--json")
    assert [one["decision"] for one in lines(done.out)][:3] == ["allow", "allow", "deny"], done.err


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("policies", f"permit (principal, action, resource) when {{ {body} }};", "BAD_POLICIES")
        for body in (
            "(" * DEEP + "true" + ")" * DEEP,
            "!(" * DEEP + "true" + ")" * DEEP,
            "[" * DEEP + "]" * DEEP,
            "true" + " && true" * DEEP,
            "context" + ".a" * DEEP,
            "if true then true else " * DEEP + "true",
        )
    ]
    + [
        ("schema", f"entity A {{ a: {kind} }};", "SCHEMA_INVALID")
        for kind in ("Set<" * DEEP + "Long" + ">" * DEEP, "{a: " * DEEP + "Long" + "}" * DEEP)
    ]
    + [
        ("entities", json.dumps(list(chain(kind, DEEP))), "BAD_ENTITIES")
        for kind in ("uid", "__entity")
    ],
)
def test_what_is_nested_too_deep_is_refused_and_ends_no_process(
    stockade: Stockade, files: Mapping[str, Path], name: str, content: str, code: str
) -> None:
    """The engine's parsers recurse: with no stack left they end the process without a word."""
    files[name].write_text(content)
    done = stockade("policy", "evaluate", *options(files))
    assert done.status == 2
    assert f"error: {code}:" in done.err


@pytest.mark.parametrize(
    "arguments", [(), ("--policies", "p"), ("--corpus", "d", "--policies", "p"), ("--corpus", "d")]
)
def test_wrong_usage(stockade: Stockade, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Files that do not make a question, and a folder without cases, are usage errors."""
    given = [str(tmp_path) if one == "d" else one for one in arguments]
    assert stockade("policy", "evaluate", *given).status == 2
