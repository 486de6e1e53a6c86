"""What a repository's configuration does: runs nothing, as a tool's has to; or leads elsewhere.

Pure. For a tool's, a list of what is known to be harmless and a narrow reading of the format: what
is not understood is not harmless. An operator's own is read generously, for what it leads to.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAX_BYTES = 64 * 1024

_SECTION = re.compile(r'\[([a-z]+)(?: "([^"\\\]\[]*)")?\]\Z')
_SETTING = re.compile(r"[ \t]*([a-z]+)[ \t]*=[ \t]*([^\"\\#;]*)\Z", re.IGNORECASE)
_SWITCH = re.compile(r"(?i:true|false|yes|no|on|off|0|1|always|never|merges|interactive|input)\Z")
_WORDS = re.compile(r"[^-\x00-\x1f][^\x00-\x1f]*\Z")
_REFERENCE = re.compile(r"[+]?[A-Za-z0-9_./*:-]*\Z")
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./-]*\Z")  # a colon would make an address of it
# No transport that is a command (`ext::`), no host that is an option (`-oProxyCommand`).
_ADDRESS = re.compile(
    r"(?:(?:https?|ssh|git|file)://(?!-)|(?:[A-Za-z0-9_.]+@)?[A-Za-z0-9_.]+:(?!:|//)|\.{0,2}/)"
    r"(?:(?!::)[\x21-\x7e])*\Z"
)

_HARMLESS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "core": dict.fromkeys(
        ("repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase",
         "precomposeunicode", "symlinks", "autocrlf"),
        _SWITCH,
    ),
    "extensions": {"objectformat": re.compile(r"sha(?:1|256)\Z")},
    "remote": {"url": _ADDRESS, "fetch": _REFERENCE, "prune": _SWITCH},
    "branch": {"remote": _NAME, "merge": _NAME, "rebase": _SWITCH},
    "user": {"name": _WORDS, "email": _WORDS},
    "init": {"defaultbranch": _NAME},
    "pull": {"rebase": _SWITCH},
    "push": {"default": _NAME},
}  # fmt: skip
_HEADER = re.compile(r"[ \t]*\[(\w+)")
_LEADING = re.compile(r"(?:[ \t]*\[[^\]]*\])?[ \t]*(\w+)[ \t]*=[ \t]*(.*)")
# Settings by which an operator's own configuration has git read, or run, files elsewhere.
_LEADS = frozenset({("core", "hookspath"), ("include", "path"), ("includeif", "path")})

_ESCAPED = {"n": "\n", "t": "\t", "b": "\b"}
_NAMED = frozenset({"remote", "branch"})


def is_harmless(content: bytes) -> bool:
    """Whether nothing in it can make git run a program or leave the repository."""
    if len(content) > MAX_BYTES:
        return False
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        return False
    section: Mapping[str, re.Pattern[str]] = {}
    for line in lines:
        text = line.strip(" \t")
        if not text or text[0] in "#;":
            continue
        if found := _SECTION.match(text):
            name, named = found[1], found[2] is not None
            section = _HARMLESS.get(name, {}) if named is (name in _NAMED) else {}
            if not section:
                return False
            continue
        setting = _SETTING.match(line)
        allowed = setting and section.get(setting[1].lower())
        if not setting or not allowed or not allowed.match(setting[2].rstrip(" \t")):
            return False
    return True


class Lead(NamedTuple):
    """A place in the workspace, relative to it."""

    place: str
    is_read: bool
    """As settings; else hooks are run from there."""


def leads_to(content: bytes, workspace: str, beside: str = ".git") -> Iterator[Lead]:
    """Where this configuration, which is in the folder `beside`, has git run or read something."""
    section = ""
    text = content.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    for line in text.replace("\\\n", "").split("\n"):
        if header := _HEADER.match(line):
            section = header[1].lower()
        setting = _LEADING.match(line)
        if setting is None or (section, setting[1].lower()) not in _LEADS:
            continue
        value, is_read = _value(setting[2]), section != "core"
        # Hooks are looked for from the work tree, included files from beside the configuration.
        place = posixpath.normpath(posixpath.join(workspace, beside if is_read else "", value))
        if value and value[0] != "~" and place.startswith(f"{workspace}/"):
            yield Lead(place[len(workspace) + 1 :], is_read)


def _value(text: str) -> str:
    """As git reads it: a comment begins outside of quotes alone."""
    found, is_quoted, rest = "", False, iter(text)
    for character in rest:
        if character == "\\":
            found += _ESCAPED.get(escaped := next(rest, ""), escaped)
        elif character == '"':
            is_quoted = not is_quoted
        elif character in "#;" and not is_quoted:
            break
        else:
            found += character
    return found.strip()
