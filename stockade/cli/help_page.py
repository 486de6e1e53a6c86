"""What `--help` says of a command: the words a person types, and no types of Python's. Pure."""

import re
from typing import Any

import typer
from typer.core import TyperCommand

_TYPE = re.compile(r" ?<[^<>]+>")
# Of an option without a word of its own: what is typed after it.
_WORDS = {"<path>": "FILE", "<int>": "N", "<int range>": "N", "<float>": "N"}
_RANGES = (
    (re.compile(r" *\[x>=0\]"), ""),
    (re.compile(r"(-?\d+)<=x<=(-?\d+)"), r"\1 to \2"),
    (re.compile(r"x>=(-?\d+)"), r"at least \1"),
)


class Plain(TyperCommand):
    """A command whose help is for people."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What has to be given stands as it is; what may be left out is in brackets."""
        hidden = [
            piece
            for param in self.get_params(ctx)
            if getattr(param, "hidden", False)
            for piece in param.get_usage_pieces(ctx)
        ]
        pieces = [one for one in super().collect_usage_pieces(ctx) if one not in hidden]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the lists of arguments and options."""
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                rows[param.param_type_name].append((_named(param, record[0]), _ranged(record[1])))
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            if rows[kind]:
                with formatter.section(title):
                    formatter.write_dl(rows[kind])


def for_people(app: typer.Typer) -> None:
    """Gives all commands of it such a help."""
    for command in app.registered_commands:
        command.cls = Plain
    for group in app.registered_groups:
        if group.typer_instance is not None:
            for_people(group.typer_instance)


def _named(param: Any, name: str) -> str:
    """An argument has its word already; an option without one gets its own in capitals."""
    found = _TYPE.search(name)
    if found is None or param.param_type_name == "argument":
        return _TYPE.sub("", name)
    longest = max(param.opts, key=len).lstrip("-").replace("-", "_").upper()
    word = _WORDS.get(found.group().strip(), longest)
    return _TYPE.sub(f" {word}", name)


def _ranged(text: str) -> str:
    for pattern, words in _RANGES:
        text = pattern.sub(words, text)
    return text
