"""A file of `NAME=VALUE` lines, such as Docker and systemd read: one value of it.

Trusted to read one value or none, never something between: a line that others would read otherwise
(a name twice, a quote inside quotes, a backslash in double quotes, something after a quote) makes
the whole file unusable. Nothing is expanded. Works on bytes, and makes no copy of a value but the
one it returns. Raises `SourceError`, which names the line and never what is on it.

    # a comment
    NAME=everything to the end of the line, without spaces at both ends
    NAME='or what is between these', "or these"
"""

import re
from typing import Final

from vault.errors import Code, SourceError
from vault.secret import Secret

_NAME: Final = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)=")
_BLANK: Final = b" \t\r"
_QUOTES: Final = (b"'", b'"')


def parse_environment(content: bytes, name: str) -> Secret | None:
    """The value of that name in a file's content; None where there is none."""
    found: Secret | None = None
    seen: set[bytes] = set()
    start = number = 0
    while start < len(content):
        number += 1
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        line = _stripped(memoryview(content)[start:end])
        start = end + 1
        if not line or line[0] == ord("#"):
            continue
        match = _NAME.match(line)
        if match is None:
            raise _malformed(number, "is not NAME=VALUE")
        if match[1] in seen:
            raise _malformed(number, "gives a name for the second time")
        seen.add(match[1])
        value = _unquoted(_stripped(line[match.end() :]), number)
        if match[1] == name.encode():
            found = Secret(value)
    return found


def _stripped(line: memoryview) -> memoryview:
    while line and line[0] in _BLANK:
        line = line[1:]
    while line and line[-1] in _BLANK:
        line = line[:-1]
    return line


def _unquoted(value: memoryview, number: int) -> memoryview:
    quote = bytes(value[:1])
    if quote not in _QUOTES:
        return value
    inner = value[1:-1]
    if len(value) < 2 or value[-1:] != quote:
        raise _malformed(number, "has a quote that does not end with the line")
    if quote[0] in inner:
        raise _malformed(number, "has a quote within quotes")
    if quote == b'"' and ord("\\") in inner:
        raise _malformed(number, "has a backslash in double quotes, which others would interpret")
    return inner


def _malformed(number: int, what: str) -> SourceError:
    return SourceError(
        Code.SOURCE_MALFORMED,
        f"line {number} {what}",
        "one NAME=VALUE a line; quote what begins with a quote in the other kind",
    )
