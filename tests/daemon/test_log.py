"""What is written when something goes wrong: where, and nothing of what it was done with."""

import subprocess
import sys

import pytest

# The value is in a local variable of each frame that the traceback names.
LOGS = """
import sys
import structlog
from daemon.config import Log
from daemon.log import configure_log

def opened(value):
    copy = bytes(value)
    raise RuntimeError("something is wrong")

configure_log(Log(format=sys.argv[1]))
held = "traced-".encode() + sys.stdin.buffer.read()
try:
    opened(held)
except RuntimeError:
    structlog.get_logger("stockade.vault").exception("vault.failed")
"""
VALUE = b"value-Tq51"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_has_no_values(form: str) -> None:
    """Where and why, in either form: no local variable of a frame; some hold a secret."""
    done = subprocess.run(
        [sys.executable, "-c", LOGS, form],
        input=VALUE,
        capture_output=True,
        check=True,
        timeout=180,
    )
    assert b"something is wrong" in done.stderr
    assert b"in opened" in done.stderr
    assert b"Tq51" not in done.stderr + done.stdout
