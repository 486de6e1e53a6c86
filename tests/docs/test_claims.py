"""What the documents claim of the code is what the code has."""

import json
import re
import tomllib
from collections.abc import Iterator

import pytest

from daemon.config_file import reference
from daemon.lifecycle import TABLE
from daemon.tools.manifest_file import ManifestFile, Section
from stockade.cli import life
from tests.docs.pages import ROOT, read, table_rows
from tests.docs.regenerate import PAGE, expected

PROMISES = 10


def test_the_table_of_states() -> None:
    """docs/design.md shows the literal table of daemon/lifecycle.py, in its order."""
    shown = [tuple(row) for row in table_rows(read("docs/design.md"), "### States")]
    assert shown == [
        (str(state), str(event), str(after))
        for state, events in TABLE.items()
        for event, after in events.items()
    ]


def test_the_configuration_is_fresh() -> None:
    """docs/configuration.md has today's keys; else run `python -m tests.docs.regenerate`."""
    assert reference().rstrip() in PAGE.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected()


def test_the_dependencies() -> None:
    """ADR 2 has a reason for every dependency of pyproject.toml, and for nothing else."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for heading, declared in (
        ("## The dependencies", project["dependencies"]),
        ("## Optional", extras),
    ):
        names = [re.split(r"[<>=~!\[; ]", line)[0] for line in declared]
        rows = list(table_rows(read("docs/adr/0002-dependencies.md"), heading))
        assert sorted(row[0].strip("`") for row in rows) == sorted(names)
        assert all(row[-1] for row in rows)


def test_the_exit_statuses() -> None:
    """README's table of exit statuses has each status that a call can end with, once."""
    shown = [int(row[0]) for row in table_rows(read("README.md"), "## Exit statuses of `call`")]
    usage = 2
    assert shown == sorted({*life.EXIT_STATUS.values(), life.UNREACHABLE, usage})


def test_the_manifest() -> None:
    """docs/tools.md has every key of a manifest, with its default, and no other."""
    rows = {
        row[0].strip("`"): row[1] for row in table_rows(read("docs/tools.md"), "## The manifest")
    }
    assert rows == dict(_keys(ManifestFile, ""))


def _keys(section: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            yield from _keys(inner, f"{prefix}{name}.")
            continue
        has_default = not field.is_required() and field.default is not None
        yield prefix + name, f"`{json.dumps(field.default)}`" if has_default else ""


def _section_of(annotation: object) -> type[Section] | None:
    """The section that a key's type is, or is a list of, or may be."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    for one in candidates:
        if isinstance(one, type) and issubclass(one, Section):
            return one
    return None


def _promises(page: str, title: str) -> dict[int, tuple[str, ...]]:
    return {
        int(row[0]): tuple(re.findall(r"`([^`]+)`", row[2]))
        for row in table_rows(read(page), title)
    }


@pytest.mark.parametrize(
    ("page", "title"),
    [("docs/design.md", "## Promises"), ("SECURITY.md", "## The ten promises")],
)
def test_every_promise_has_its_tests(page: str, title: str) -> None:
    """The tests that are said to hold a promise are there."""
    found = _promises(page, title)
    assert sorted(found) == list(range(1, PROMISES + 1))
    for number, patterns in found.items():
        assert patterns, number
        missing = [pattern for pattern in patterns if not list(ROOT.glob(pattern))]
        assert not missing, f"promise {number}: {missing}"


def test_the_two_lists_of_promises_agree() -> None:
    """SECURITY.md and docs/design.md name the same tests."""
    assert _promises("SECURITY.md", "## The ten promises") == _promises(
        "docs/design.md", "## Promises"
    )


def test_the_attacks_named_are_tests() -> None:
    """Each test that docs/approvals.md names for an attack is there, under that name."""
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", read("docs/approvals.md"))
    assert len(named) > len(
        list(table_rows(read("docs/approvals.md"), "## Attacks, and the tests that hold them"))
    )
    assert [name for path, name in named if f"def {name}(" not in read(path)] == []
