"""Attacks on files outside: read them, write them, be handed them."""

import os
import socket
from pathlib import Path


def read(paths: list[str]) -> str:
    """Read the first of these that can be read."""
    return _first(paths, lambda path: Path(path).read_text()[:200])


def read_symlink(link: str, path: str) -> str:
    """Plant a symbolic link where writing is allowed and read through it."""
    Path(link).symlink_to(path)
    return Path(link).read_text()[:200]


def read_hard_link(link: str, path: str) -> str:
    """Give the file a second name where reading is allowed."""
    os.link(path, link)
    return Path(link).read_text()[:200]


def read_process_roots(path: str) -> str:
    """Read through the root and working directory of every process there is."""
    numbers = ["self", *(path.name for path in Path("/proc").glob("[0-9]*"))]
    roots = [f"/proc/{number}/{kind}" for number in numbers for kind in ("root", "cwd")]
    return read([f"{root}{up}{path}" for root in roots for up in ("", "/..", "/../../..")])


def write(paths: list[str], text: str) -> str:
    """Append to the first of these that can be written."""
    return _first(paths, lambda path: _append(path, text))


def write_symlink(link: str, path: str, text: str) -> str:
    """Plant a symbolic link where writing is allowed and write through it."""
    Path(link).symlink_to(path)
    return _append(link, text)


def write_hard_link(link: str, path: str, text: str) -> str:
    """Give a file that may only be read a second name where writing is allowed."""
    os.link(path, link)
    return _append(link, text)


def be_handed_a_descriptor(address: str) -> str:
    """Ask a process outside for a descriptor, over a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(address)
        _, descriptors, _, _ = socket.recv_fds(sock, 16, 1)
        return os.pread(descriptors[0], 200, 0).decode()


def read_inherited_descriptors() -> str:
    """Read whatever descriptor was left open."""
    found = []
    for number in range(3, 1024):
        try:
            found.append(os.pread(number, 200, 0).decode())
        except OSError:
            continue
    return "; ".join(found) or "there is none"


def _append(path: str, text: str) -> str:
    with open(path, "a") as file:  # noqa: PTH123 - one call is one attempt
        file.write(text)
    return "written"


def _first(paths: list[str], attempt: "object") -> str:
    refusals = []
    for path in paths:
        try:
            return str(attempt(path))  # type: ignore[operator]
        except OSError as error:
            refusals.append(error.strerror or "error")
    return "refused: " + ", ".join(dict.fromkeys(refusals))
