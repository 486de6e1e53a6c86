"""Run a program as a user with a user namespace of its own, whose settings nobody else has.

As root: the namespace gets 65,536 ids that nobody else is, and the program is one of them, with no
privilege in it. Where this Python or this checkout lies in a home that only root may enter, a mount
namespace of the program's own shows it nevertheless. The process stays the one that was started.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
OUTSIDE, INSIDE = 100_000, 1000
NEW_USER, NEW_MOUNTS = 0x1000_0000, 0x2_0000


def unshare(flags: int) -> None:
    """A namespace of one's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def show(*places: Path) -> None:
    """Have every user reach these places, here alone."""
    held: list[tuple[Path, int]] = []
    hidden: set[Path] = set()
    for place in places:
        closed = [above for above in place.parents if not above.stat().st_mode & 0o001]
        if closed:
            held.append((place, os.open(place, os.O_PATH)))
            hidden.add(closed[-1])
    for folder in hidden:
        empty = ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)]
        subprocess.run(empty, check=True)
    for place, fd in held:
        place.mkdir(parents=True, exist_ok=True)
        source = f"/proc/{os.getpid()}/fd/{fd}"
        subprocess.run(["mount", "--no-canonicalize", "--bind", source, str(place)], check=True)
        os.close(fd)


def become() -> None:
    """One of the ids of a new namespace, which are written from outside of it."""
    (ours, told), (done, theirs) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.read(ours, 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{os.getppid()}/{kind}_map").write_text(f"0 {OUTSIDE} 65536")
        os.write(theirs, b"x")
        os._exit(0)
    unshare(NEW_USER)
    os.write(told, b"x")
    os.read(done, 1)
    os.waitpid(child, 0)
    for end in (ours, told, done, theirs):
        os.close(end)
    os.setgroups([])
    os.setresgid(INSIDE, INSIDE, INSIDE)
    os.setresuid(INSIDE, INSIDE, INSIDE)


if __name__ == "__main__":
    unshare(NEW_MOUNTS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    show(Path(sys.base_prefix), Path(sys.prefix), CHECKOUT)
    become()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606
