"""Links lead somewhere, and the commands that are named exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from stockade.cli.app import app
from tests.docs.pages import PAGES, ROOT, anchors, fenced, name_of, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ANCHORED = re.compile(r"docs/[a-z]+\.md(?:#[a-z0-9-]+)?")
_COMMAND = re.compile(r"\bstockade((?: [a-z][a-z-]*)+)")
_INLINE = re.compile(r"`([^`\n]+)`")

WIDTH = 80


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    """Every relative link of a page names a file, and its anchor a title in it."""
    broken = []
    for target in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path)
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


def test_references_from_the_source() -> None:
    """What comments, docstrings and messages of the source say of docs/ is there."""
    sources = [*ROOT.glob("proto/**/*.proto"), ROOT / "pyproject.toml"]
    for package in ("daemon", "identity", "ledger", "policy", "sandbox", "stockade", "vault"):
        sources += ROOT.glob(f"{package}/**/*.py")
    broken = set()
    for source in sources:
        for reference in _ANCHORED.findall(source.read_text(encoding="utf-8")):
            path, _, anchor = reference.partition("#")
            file = ROOT / path
            if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
                broken.add((name_of(source), reference))
    assert sorted(broken) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    """A command that a page names in code is one that `stockade` has."""
    text = page.read_text(encoding="utf-8")
    named = [*_INLINE.findall(prose(text)), *fenced(text, "console")]
    unknown = [
        words for code in named for words in _COMMAND.findall(code) if not _exists(words.split())
    ]
    assert unknown == []


def _exists(words: list[str]) -> bool:
    command: Any = typer.main.get_command(app)
    for word in words:
        commands = getattr(command, "commands", None)
        if commands is None:
            return True  # what follows a command is its arguments
        if word not in commands:
            return False
        command = commands[word]
    return True


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_drawings_fit_a_terminal(page: Path) -> None:
    """Drawings and maps are plain text of at most 80 columns."""
    text = page.read_text(encoding="utf-8")
    assert [
        line for block in fenced(text, "") for line in block.splitlines() if len(line) > WIDTH
    ] == []


def test_a_decision_has_a_number_of_its_own() -> None:
    """A record's number is in its name and its title, and is given once."""
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [record.name[:4] for record in records]
    assert numbers == sorted(set(numbers))
    titles = [record.read_text(encoding="utf-8").splitlines()[0] for record in records]
    assert [title[: len("# 0000: ")] for title in titles] == [f"# {one}: " for one in numbers]
