"""Starting a daemon that should refuse to."""

import subprocess
import sys
from pathlib import Path

from tests.running import STOCKADED, RunningDaemon

SECONDS = 120


def serve(
    daemon: RunningDaemon,
    cwd: Path | None = None,
    program: Path | None = None,
    wrapper: tuple[str, ...] = (),
) -> "subprocess.CompletedProcess[str]":
    """Tries to serve; what refuses to start ends by itself."""
    environment = daemon.environ() | {"LANG": "C.UTF-8"}
    return subprocess.run(
        [*wrapper, *([STOCKADED] if program is None else [sys.executable, program]), "serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=cwd,
    )


def refused(answer: "subprocess.CompletedProcess[str]", code: str) -> str:
    """What it said: the code, what happened, the fix; nothing else, and nothing on stdout."""
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    lines = answer.stderr.splitlines()
    assert any(line.startswith(f"stockaded: {code}: ") for line in lines), answer.stderr
    fixes = [line for line in lines if line.startswith("fix: ")]
    assert len(fixes) == 1
    assert fixes[0].removeprefix("fix: ").strip()
    assert answer.stdout == ""
    return answer.stderr
