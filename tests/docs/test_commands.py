"""Whatever command or option a document names is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from stockade.cli.app import app
from tests.docs.pages import PAGES, name_of

COMMAND = re.compile(r"(?:`|^\$ |^)stockade ([a-z][a-z -]*)([^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
ENDS = re.compile(r" \||&&|; |  #")


def test_what_is_named_is_looked_for() -> None:
    """The other half: the search finds commands in the documents, and what is not there."""
    assert len({found for page in PAGES for found in _named(page.read_text())}) > 60
    assert list(_missing("`stockade secrets show x`")) == ["secrets show"]
    assert list(_missing("`stockade secrets put x --shown`")) == ["secrets put --shown"]
    assert list(_missing("`stockade secrets revoke x --report`")) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_are_there(page: Path) -> None:
    """Each with the options that it is shown with."""
    assert not list(_missing(page.read_text(encoding="utf-8")))


def _named(text: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The words of each command, and its options."""
    for words, rest in COMMAND.findall(text):
        line = ENDS.split(f"{words}{rest}")[0]
        options = tuple(OPTION.findall(line))
        yield tuple(word for word in words.split() if not word.startswith("-")), options


def _missing(text: str) -> Iterator[str]:
    for words, options in _named(text):
        path, command = _found(words)
        if command is None:
            yield path
            continue
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        yield from (f"{path} {one}" for one in options if one not in {*known, "--help"})


def _found(words: tuple[str, ...]) -> tuple[str, Any]:
    """The path of a command and the command, None if there is none; what follows is arguments."""
    command: Any = typer.main.get_command(app)
    for number, word in enumerate(words):
        if not hasattr(command, "commands"):
            return " ".join(words[:number]), command
        command = command.commands.get(word)
        if command is None:
            return " ".join(words[: number + 1]), None
    return " ".join(words), command
