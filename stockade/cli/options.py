"""Options that several commands have, spelled once; and the form of their examples."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show each step, also when not on a terminal.")
]


class Listing(TyperGroup):
    """Commands with all of their first sentence, where Typer would cut it off at the margin."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(10_000))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def examples(*lines: str) -> str:
    """Examples under a command's help, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def group(name: str, summary: str, *lines: str) -> typer.Typer:
    """A group of commands with examples."""
    return typer.Typer(
        name=name,
        cls=Listing,
        help=summary,
        epilog=examples(*lines),
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
