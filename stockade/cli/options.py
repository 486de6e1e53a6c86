"""Options that several commands have, spelled once; and the form of their examples."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show each step, also when not on a terminal.")
]


def examples(*lines: str) -> str:
    """Examples under a command's help, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def group(name: str, summary: str, *lines: str) -> typer.Typer:
    """A group of commands with examples."""
    return typer.Typer(
        name=name,
        help=summary,
        epilog=examples(*lines),
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
