"""`stockade policy check`: by the daemon, or without one by the `stockaded` installed here."""

# ruff: noqa: ARG001 - asking for the fixture `daemon` serves the home

import json
import os
from pathlib import Path
from typing import Any

import pytest

from policy.defaults import load_default_files
from policy.schema import load_base
from stockade.home import Home
from tests.stockade.conftest import Stockade
from tests.stockade.serving import Daemon, World

CALL = 'principal, action == Action::"call", resource'
READS = f"permit ({CALL}) when {{ context.arguments has read_file }};\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policies"
    path.mkdir()
    for name, text in load_default_files().items():
        (path / name).write_text(text)
    return path


def problems(out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(out)["problems"]
    return found


def test_without_a_daemon_the_files_are_checked_all_the_same(
    stockade: Stockade, folder: Path
) -> None:
    """Against the schema of this release and of the tools it comes with; it says so."""
    (folder / "more.cedar").write_text(READS)
    done = stockade("policy", "check", str(folder))
    assert done.status == 0
    assert "5 files without problems" in done.out
    assert "checked without the daemon" in done.err
    assert json.loads(stockade("policy", "check", str(folder), "--json").out)["checked_by"] == (
        "stockaded"
    )


def test_errors_and_warnings_have_file_line_code_and_severity(
    stockade: Stockade, folder: Path
) -> None:
    """Status 1 for an error; for a warning only if one asks to be strict."""
    forbid = 'forbid (principal, action, resource == Tool::"reed");'
    (folder / "more.cedar").write_text(f"\npermit ({CALL}) when {{ false }};\n{forbid}\n")
    done = stockade("policy", "check", str(folder), "--offline", "--json")
    assert done.status == 0
    assert [(p["file"], p["line"], p["code"], p["severity"]) for p in problems(done.out)] == [
        ("more.cedar", 2, "UNREACHABLE_POLICY", "warning"),
        ("more.cedar", 3, "NO_SUCH_ENTITY", "warning"),
    ]
    assert stockade("policy", "check", str(folder), "--offline", "--strict").status == 1
    (folder / "more.cedar").write_text("\npermit (principal);\n")
    done = stockade("policy", "check", str(folder), "--offline", "--json")
    assert done.status == 1
    assert [(p["line"], p["code"], p["severity"]) for p in problems(done.out)] == [
        (2, "POLICY_SYNTAX", "error")
    ]


def test_for_people(stockade: Stockade, folder: Path) -> None:
    """Place, code, what is wrong, what to do; then how many."""
    (folder / "more.cedar").write_text(f"\npermit ({CALL}) when {{ false }};\nnonsense;\n")
    err = stockade("policy", "check", str(folder), "--offline").err
    assert "more.cedar:3: POLICY_SYNTAX: " in err
    assert "  fix: " in err
    assert "5 files: 1 error, 0 warnings" in err
    (folder / "more.cedar").write_text(f"\npermit ({CALL}) when {{ false }};\n")
    err = stockade("policy", "check", str(folder), "--offline").err
    assert "more.cedar:2: warning: UNREACHABLE_POLICY: " in err


def test_against_a_schema_in_a_file(stockade: Stockade, folder: Path, tmp_path: Path) -> None:
    """One that a daemon printed, say: its tools are the ones that policies may speak of."""
    schema = tmp_path / "s.cedarschema"
    schema.write_text(load_base())
    (folder / "more.cedar").write_text(READS)
    done = stockade("policy", "check", str(folder), "--schema", str(schema), "--json")
    assert done.status == 0
    assert [one["code"] for one in problems(done.out)] == ["UNREACHABLE_POLICY"]
    for wrong in ("entity ;", f"entity A {{ a: {'Set<' * 30_000}Long{'>' * 30_000} }};"):
        schema.write_text(wrong)
        done = stockade("policy", "check", str(folder), "--schema", str(schema))
        assert done.status == 1
        assert "SCHEMA_INVALID" in done.err


def test_the_tools_of_the_home_are_known(stockade: Stockade, home: Home, folder: Path) -> None:
    """Also of the operator's own; one that cannot be used is named."""
    for name, argv in (("mine", "/bin/true"), ("broken", "/no/such/program")):
        tool = home.tools / name
        tool.mkdir(parents=True)
        (tool / "manifest.toml").write_text(
            f'name = "{name}"\nversion = "1"\nsummary = "s"\nargv = ["{argv}"]\n'
            '[input]\ntype = "object"\n[input.properties.n]\ntype = "integer"\n'
            "[risk]\ndata_sensitivity = 0.1\n"
        )
    (folder / "more.cedar").write_text(
        f"permit ({CALL}) when {{ context.arguments has mine && context.arguments.mine has n &&"
        " context.arguments.mine.n > 1 };"
    )
    done = stockade("policy", "check", str(folder), "--offline")
    assert done.status == 0
    assert "the tool broken cannot be used" in done.err
    assert not list(home.data.rglob("*"))


def test_a_daemon_that_answers_is_asked(
    daemon: Daemon, world: World, stockade: Stockade, folder: Path
) -> None:
    """It knows who is paired; only --offline leaves it out."""
    done = stockade("policy", "check", str(folder), "--json")
    assert (done.status, json.loads(done.out)["checked_by"]) == (0, "daemon")


def _odd(path: Path, kind: str) -> None:
    match kind:
        case "link":
            path.symlink_to(path.parent / "calls.cedar")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "latin-1":
            path.write_bytes(b"// one\n// \xe9\n")
        case "5 MB":
            path.write_bytes(b"// x\n" * 1024 * 1024)


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("link", 0, "symbolic"),
        ("folder", 0, "directory"),
        ("pipe", 0, "regular"),
        ("latin-1", 2, "0xe9"),
        ("5 MB", 0, "larger"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--offline",)])
def test_what_is_no_policy_file_is_a_problem_by_name(
    daemon: Daemon,
    world: World,
    stockade: Stockade,
    folder: Path,
    kind: str,
    line: int,
    says: str,
    how: tuple[str, ...],
) -> None:
    """Not UTF-8, too large, a link, a folder, a pipe: refused, and nothing is sent or applied."""
    _odd(folder / "odd.cedar", kind)
    done = stockade("policy", "check", str(folder), "--json", *how)
    assert done.status == 1
    (problem,) = problems(done.out)
    assert (problem["file"], problem["line"], problem["code"]) == (
        "odd.cedar",
        line,
        "POLICY_UNREADABLE",
    )
    assert says in problem["message"]
    applied = stockade("policy", "apply", str(folder))
    assert applied.status == 2
    assert f"odd.cedar:{line}: " in applied.err if line else "odd.cedar: " in applied.err
    assert world.requests == []


@pytest.mark.parametrize("what", ["nothing", "missing", "file", "json"])
def test_a_folder_that_cannot_be_meant(
    daemon: Daemon, world: World, stockade: Stockade, tmp_path: Path, what: str
) -> None:
    """Empty, not there, a file, or policies in another form: a mistake of usage, never deny-all."""
    place = tmp_path / "place"
    if what == "file":
        place.write_text(READS)
    elif what != "missing":
        place.mkdir()
    if what == "json":
        (place / "policies.json").write_text("{}")
    for verb in ("check", "apply"):
        done = stockade("policy", verb, str(place))
        assert done.status == 2
        assert str(place) in done.err
        assert ("policies.json" in done.err) is (what == "json")
    assert world.requests == []
