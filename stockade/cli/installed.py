"""The `stockaded` that was installed beside this command, started to be asked something.

With `stockade.cli.up` and `stockade.cli.preparation` the only modules of the client that start it.
Raises `StockadeError`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stockade.errors import StockadeError
from stockade.home import Home

SECONDS = 300.0
_FAULT = re.compile(r"stockaded: ([A-Z][A-Z0-9_]*): (.*)")


def program() -> Path:
    """`stockaded` of this installation, never one that PATH happens to find first."""
    beside = Path(sys.executable).parent / "stockaded"
    if beside.is_file():
        return beside
    if found := shutil.which("stockaded"):
        return Path(found)
    raise StockadeError(
        f"stockaded is not installed beside {sys.executable}",
        reason="DAEMON_NOT_INSTALLED",
        fix="install stockade again, with its console scripts",
    )


def environment(home: Home) -> dict[str, str]:
    """Ours; only the home must mean the same wherever the daemon stands."""
    ours = dict(os.environ)
    if ours.get("STOCKADE_HOME"):
        ours["STOCKADE_HOME"] = str(home.config)
    return ours


def ask(
    home: Home, arguments: Sequence[str], told: bytes = b"", *, patient: bool = False
) -> dict[str, Any]:
    """Runs it with these arguments, and `told` on standard input; the JSON object it prints.

    With `patient` for what takes as long as a home is large: it is not killed after a while.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the program is ours
            [program(), *arguments],
            env=environment(home),
            input=told,
            capture_output=True,
            timeout=None if patient else SECONDS,
            check=True,
        )
        answer = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        if said and (fault := _FAULT.fullmatch(said[0])):
            raise StockadeError(fault[2], reason=fault[1], fix=_fix(said)) from None
        message = said[0] if said else f"stockaded ended with {error.returncode}"
        raise StockadeError(message, reason="DAEMON_FAILED", fix=_fix(said)) from None
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        message = f"stockaded gave no answer: {type(error).__name__}"
        raise StockadeError(message, reason="DAEMON_FAILED", fix="`stockade doctor`") from None
    if not isinstance(answer, dict):
        raise StockadeError("stockaded answered nonsense", reason="DAEMON_FAILED")
    return answer


def _fix(said: Sequence[str]) -> str:
    return said[1].removeprefix("fix: ") if len(said) > 1 else "`stockade doctor`"
