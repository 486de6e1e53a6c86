"""What the documents tell a reader to type really works, and says what they say it says."""

import pytest

from tests.docs.console import Shell, Step, fits, play, play_steps, shell, steps
from tests.docs.pages import PAGES, name_of, read

SELF_CONTAINED = "README.md"
_NEEDS = [
    name_of(page)
    for page in PAGES
    if steps(read(name_of(page))) and name_of(page) != SELF_CONTAINED
]


def test_the_first_ten_minutes() -> None:
    """README's commands, typed in order by somebody who has nothing yet."""
    with shell() as (made, _):
        play(made, read(SELF_CONTAINED))


@pytest.mark.parametrize("page", _NEEDS)
def test_the_commands_of_a_page(page: str) -> None:
    """The commands of every other page, beside a daemon as README's first minutes leave it."""
    with shell() as (made, _):
        _as_after_the_readme(made)
        play(made, read(page))


def _as_after_the_readme(made: Shell) -> None:
    """README's commands up to where a daemon with a workspace runs."""
    every = steps(read(SELF_CONTAINED))
    end = next(i for i, step in enumerate(every) if step.command.startswith("stockade down &&"))
    play_steps(made, every[: end + 1])


def test_the_convention() -> None:
    """Dots match within a line, a line of dots matches lines, and nothing else is let pass."""
    assert fits("a 1 b\nc  \n", ("a ... b", "c"))
    assert fits("a\nb\nc\n", ("a", "...", "c"))
    assert fits("a\n", ("a", "..."))
    assert fits("", ())
    assert not fits("a\n", ())
    assert not fits("a\nb\n", ("a",))
    assert not fits("a x\n", ("a ... b",))
    assert steps("```console\n$ false\n$ echo $?\n1\n```\n") == [
        Step("false", (), True),
        Step("echo $?", ("1",), False),
    ]
