"""The argv and standard input of a manifest, bound to the arguments its schema declares.

Trusted to accept only an argv that starts a program named by a plain absolute path and whose
placeholders are whole elements. Nothing is ever substituted inside an element, so no argument can
be spliced into a shell line; an element that looks as if it expected that is refused. A
placeholder always has a value: its argument is required, or has a default the schema accepts.

Errors: ``ArgvError``, with the manifest's key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from daemon.tools.errors import Reason
from daemon.tools.input import InputSchema, judge
from daemon.tools.tree import FileEntry

Scalar: TypeAlias = str | int | bool

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,62})\}")
_EMBEDDED = re.compile(r"(?<!\$)" + _PLACEHOLDER.pattern)  # ${x} is the shell's, not ours
_PROGRAM = re.compile(r"/(?:usr|bin|tool)(?:/[A-Za-z0-9_][A-Za-z0-9._+-]*)+")
_OWN = "/tool/"  # where the tool's own files are mounted, read-only
_TYPES = ("string", "integer", "boolean")


class ArgvError(Exception):
    """A refused element: its key, why, under which code."""

    def __init__(self, key: str, reason: str, code: Reason) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class Placeholder:
    """An element that is one argument's value; ``default`` stands in for an absent one."""

    argument: str
    default: Scalar | None = None


Stdin: TypeAlias = Literal["none", "arguments"] | Placeholder


def bind_argv(
    argv: Sequence[str], schema: InputSchema, files: Mapping[str, FileEntry]
) -> tuple[str | Placeholder, ...]:
    """Check every element and turn those that are placeholders into ``Placeholder``."""
    if not _PROGRAM.fullmatch(argv[0]):
        reason = "must be a plain absolute path under /usr, /bin or /tool"
        raise ArgvError("argv.0", reason, Reason.MANIFEST_ARGV_FILE)
    for i, element in enumerate(argv):
        if element.startswith(_OWN):
            _check_own_file(f"argv.{i}", files.get(element.removeprefix(_OWN)), program=i == 0)
    return tuple(_element(f"argv.{i}", element, schema) for i, element in enumerate(argv))


def bind_stdin(stdin: str, schema: InputSchema) -> Stdin:
    """What the run reads: nothing, all arguments as canonical JSON, or one string argument."""
    if stdin == "none":
        return "none"
    if stdin == "arguments":
        return "arguments"
    whole = _PLACEHOLDER.fullmatch(stdin)
    if not whole:
        reason = 'must be "none", "arguments" or "{NAME}"'
        raise ArgvError("stdin", reason, Reason.MANIFEST_INVALID)
    return _placeholder("stdin", whole[1], ("string",), schema)


def _check_own_file(key: str, entry: FileEntry | None, *, program: bool) -> None:
    if entry is None:
        raise ArgvError(key, "names no file of the folder", Reason.MANIFEST_ARGV_FILE)
    if program and not entry.executable:
        raise ArgvError(key, "the file is not executable: `chmod +x` it", Reason.MANIFEST_ARGV_FILE)


def _element(key: str, element: str, schema: InputSchema) -> str | Placeholder:
    whole = _PLACEHOLDER.fullmatch(element)
    if whole:
        return _placeholder(key, whole[1], _TYPES, schema)
    if any(name in schema.names for name in _EMBEDDED.findall(element)):
        reason = "a placeholder must be a whole element; nothing is substituted inside one"
        raise ArgvError(key, reason, Reason.MANIFEST_PLACEHOLDER)
    return element


def _placeholder(key: str, name: str, types: tuple[str, ...], schema: InputSchema) -> Placeholder:
    argument = schema.argument(name)
    if argument is None or argument.get("type") not in types:
        reason = f"{{{name}}} must be an argument of the input schema of type {'/'.join(types)}"
        raise ArgvError(key, reason, Reason.MANIFEST_PLACEHOLDER)
    if name in schema.required:
        return Placeholder(name)
    default = argument.get("default")
    if not isinstance(default, str | int) or not judge(argument, default):
        reason = f"{{{name}}} must be required, or have a default its schema accepts"
        raise ArgvError(key, reason, Reason.MANIFEST_PLACEHOLDER)
    return Placeholder(name, default)
