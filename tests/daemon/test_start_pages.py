"""What a start touched is let go of, and nothing of it is lost."""

import subprocess
import sys

from daemon.start_pages import code_mappings

PATIENCE_SECONDS = 60
CODE = "7f0000001000-7f0000003000 r-xp 00001000 fe:00 77 /usr/lib/libsome thing.so (deleted)"
OTHERS = (
    "7f0000000000-7f0000001000 r--p 00000000 fe:00 77 /usr/lib/libsome.so",
    "7f0000004000-7f0000005000 rw-p 00003000 fe:00 77 /usr/lib/libsome.so",
    "7f0000005000-7f0000006000 rwxp 00003000 fe:00 77 /usr/lib/libsome.so",
    "7f0000006000-7f0000007000 r-xs 00003000 fe:00 77 /usr/lib/libsome.so",
    "7f0000007000-7f0000008000 r-xp 00000000 00:00 0 ",
    "7f0000008000-7f0000009000 r-xp 00000000 00:00 0                          [vdso]",
)
# Loads what the daemon has most of, lets go, and then has to run all of it again.
WORKS_AFTERWARDS = """
from pathlib import Path
import cedarpy, grpc
from daemon.start_pages import let_go

def of_files():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile:"))

before = of_files()
let_go()
after = of_files()
assert after < before * 3 // 4, (before, after)
assert str(cedarpy.PolicySet.from_str("permit(principal, action, resource);"))
grpc.insecure_channel("127.0.0.1:1").close()
"""


def test_only_a_files_code_is_let_go_of() -> None:
    """What may have been written to, by us or by the loader, is no page to forget."""
    assert list(code_mappings("\n".join((*OTHERS, CODE)))) == [(0x7F0000001000, 0x2000)]


def test_what_was_let_go_of_comes_back_when_it_runs() -> None:
    """A process has less of its libraries resident afterwards, and they work as before."""
    done = subprocess.run(
        [sys.executable, "-c", WORKS_AFTERWARDS],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
