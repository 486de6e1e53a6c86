"""Which absolute paths a spec may name, judged as strings.

Pure. Refuses what is not absolute and normalised, so that no two spellings (`//`, `/./`, `/../`)
name one place, and what would cover a part of the sandbox that we make.
"""

import posixpath

from sandbox.errors import SpecRefusedError

# Under these, nothing of the caller's may appear: they are made by us or are the host's /usr.
_RESERVED_TREES = ("/bin", "/dev", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr")
ETC_FILES = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf")
ETC_FROM_HOST = ("/etc/alternatives", "/etc/ld.so.cache")
_WHOLE = ("/", "/etc", "/tmp")  # noqa: S108 - a path inside the sandbox


def encode(text: str, what: str) -> bytes:
    """The bytes of `text` as the kernel will see them; refuses NUL and lone surrogates."""
    if "\0" in text:
        # The kernel would cut the string there: what was judged is not what would run.
        raise SpecRefusedError("NUL_BYTE", f"{what} contains a NUL byte", "remove it")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise SpecRefusedError("NOT_ENCODABLE", f"{what} is not valid text", "use UTF-8") from None


def check_absolute(path: str, what: str) -> None:
    """Refuse a path that is not absolute, normalised, short enough and free of NUL."""
    raw = encode(path, what)
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path:
        raise SpecRefusedError(
            "PATH_NOT_NORMAL", f"{what} is not an absolute, normalised path", "normalise it"
        )
    if len(raw) >= 4096 or any(len(part) > 255 for part in raw.split(b"/")):
        raise SpecRefusedError("PATH_TOO_LONG", f"{what} is too long for a path", "shorten it")


def within(path: str, tree: str) -> bool:
    """Whether `path` is `tree` or below it; whole components only."""
    return tree == "/" or path == tree or path.startswith(tree + "/")


def check_source(path: str, what: str) -> None:
    """Refuse what is no place for data: the whole host, and what the kernel answers from."""
    check_absolute(path, what)
    if path == "/" or any(within(path, tree) for tree in ("/proc", "/sys", "/dev")):
        raise SpecRefusedError(
            "MOUNT_REFUSED", f"{what} is the host's root, or is the kernel's", "name a directory"
        )


def check_target(path: str, what: str) -> None:
    """Refuse a place inside the sandbox that would cover, or lie in, something we make."""
    check_absolute(path, what)
    taken = path in _WHOLE or any(within(path, tree) for tree in _RESERVED_TREES)
    if taken or any(within(path, made) for made in (*ETC_FILES, *ETC_FROM_HOST)):
        raise SpecRefusedError(
            "TARGET_RESERVED", f"{what} lies in a part the sandbox makes", "choose another place"
        )
