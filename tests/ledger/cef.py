"""A reader of CEF by the grammar of its implementation standard; it knows nothing of our writer.

Header: seven fields, each ended by a pipe; in them a backslash stands before a pipe or a backslash
and nowhere else. Extension: `key=value`, parted by one space; a key is of letters, digits, `_`
and `.`; in a value a backslash stands before a backslash, an equals sign, `n` or `r`, and there is
no other equals sign. Whatever is not so is refused: a lenient reader hides what a strict one drops.
"""

import re

_KEY = re.compile(r"(?:(?<=^)|(?<= ))[A-Za-z0-9_.]+$")
_ESCAPED = {"\\": "\\", "=": "=", "n": "\n", "r": "\r"}


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """The header's fields, and the extension's by their keys; ValueError for what is no CEF."""
    if "\n" in line or "\r" in line:
        raise ValueError("an event is one line")
    header, rest = _header(line)
    if not re.fullmatch(r"CEF:[01]", header[0]) or not re.fullmatch("[0-9]|10", header[6]):
        raise ValueError("no version, or no severity")
    return header, _extension(rest)


def _header(line: str) -> tuple[list[str], str]:
    fields, text, at = list[str](), "", 0
    while len(fields) < 7:
        if at >= len(line):
            raise ValueError("a header has seven fields")
        char, following = line[at], line[at + 1 : at + 2]
        if char == "\\":
            if following not in ("\\", "|"):
                raise ValueError("a backslash in a header stands before a backslash or a pipe")
            text, at = text + following, at + 2
        elif char == "|":
            fields, text, at = [*fields, text], "", at + 1
        else:
            text, at = text + char, at + 1
    return fields, line[at:]


def _extension(text: str) -> dict[str, str]:
    pieces = _pieces(text)
    fields: dict[str, str] = {}
    key = _key(pieces[0], first=True)
    for number, piece in enumerate(pieces[1:], 1):
        last = number == len(pieces) - 1
        following = "" if last else _key(piece, first=False)
        value = piece if last else piece[: -len(following) - 1]
        if key in fields:
            raise ValueError("a key comes twice")
        fields[key] = _unescaped(value)
        key = following
    return fields


def _pieces(text: str) -> list[str]:
    """What stands between equals signs that are not escaped."""
    pieces, piece, at = list[str](), "", 0
    while at < len(text):
        if text[at] == "\\":
            piece, at = piece + text[at : at + 2], at + 2
        elif text[at] == "=":
            pieces, piece, at = [*pieces, piece], "", at + 1
        else:
            piece, at = piece + text[at], at + 1
    return [*pieces, piece]


def _key(piece: str, *, first: bool) -> str:
    found = _KEY.search(piece)
    if found is None or (found.start() == 0) != first:
        raise ValueError("what stands before an equals sign is no key")
    return found[0]


def _unescaped(value: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise ValueError("a backslash stands before what has no escape")
        return _ESCAPED[found[1]]

    return re.sub(r"\\(.?)", one, value, flags=re.DOTALL)
