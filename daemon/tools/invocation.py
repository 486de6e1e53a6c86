"""From a manifest and arguments to the argv, standard input and fixed variables of a run.

Trusted to put each argument's value into exactly the element its placeholder is, as it is: no
quoting, joining, splitting or substitution, hence nothing to escape from. Pure.

Errors: ``InvocationError``; it names the argument, never its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.tools.arguments import ParsedArguments
from daemon.tools.argv import Placeholder
from daemon.tools.errors import InvocationError, Reason
from daemon.tools.manifest import Manifest

MAX_ELEMENT = 128 * 1024 - 1  # execve(2): MAX_ARG_STRLEN is 32 pages, with the final NUL
MAX_ARGV = 512 * 1024  # well within the quarter of the stack execve(2) leaves for argv and env


@dataclass(frozen=True, slots=True)
class Invocation:
    """What is started, what it reads, and the variables its manifest fixed. Never a secret."""

    argv: tuple[str, ...] = field(repr=False)
    stdin: bytes = field(repr=False)
    env: Mapping[str, str]


def build(manifest: Manifest, arguments: ParsedArguments) -> Invocation:
    """Fill a manifest's placeholders from arguments that were validated against its schema."""
    argv = tuple(e if isinstance(e, str) else _filled(e, arguments) for e in manifest.argv)
    if sum(len(element.encode()) + 1 for element in argv) > MAX_ARGV:
        raise _too_large("the arguments together", MAX_ARGV)
    return Invocation(argv, _stdin(manifest, arguments), manifest.environment)


def _stdin(manifest: Manifest, arguments: ParsedArguments) -> bytes:
    match manifest.stdin:
        case "none":
            return b""
        case "arguments":
            return arguments.canonical
        case Placeholder() as placeholder:
            return _text(placeholder, arguments).encode()


def _filled(placeholder: Placeholder, arguments: ParsedArguments) -> str:
    text = _text(placeholder, arguments)
    if "\0" in text:
        # The C string would end there, and what runs would not be what was approved.
        raise InvocationError(
            Reason.INVOCATION_NUL,
            f"argument {placeholder.argument} holds a NUL byte",
            "Send the argument without NUL bytes.",
        )
    if len(text.encode()) > MAX_ELEMENT:
        raise _too_large(f"argument {placeholder.argument}", MAX_ELEMENT)
    return text


def _text(placeholder: Placeholder, arguments: ParsedArguments) -> str:
    match arguments.value.get(placeholder.argument, placeholder.default):
        case True:
            return "true"
        case False:
            return "false"
        case str() as text:
            return text
        case int() as number:
            return str(number)
        case _:
            raise InvocationError(
                Reason.INVOCATION_TYPE,
                f"argument {placeholder.argument} is no string, integer or boolean",
                "Validate the arguments against the tool's schema first.",
            )


def _too_large(what: str, limit: int) -> InvocationError:
    return InvocationError(
        Reason.INVOCATION_TOO_LARGE,
        f"{what}: more than {limit} bytes of argv",
        "Send less, or use a tool that takes it on standard input.",
    )
