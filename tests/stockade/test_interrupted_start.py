"""Ctrl-C before there is a command, or before there is a daemon: no traceback, nothing left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockade.endpoint import is_served
from stockade.home import Home
from tests.stockade.on_terminal import Terminal

ROOT = Path(__file__).parents[2]

# Ctrl-C at the very moment when this module is looked for.
WHILE_LOADING = """
import os, signal, sys
class Interrupting:
    def find_spec(name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting)
from stockade.cli.main import main
main()
"""

# A daemon that never serves, and writes down what it is told.
NEVER_READY = """#!{python}
import pathlib, signal, sys, time
told = pathlib.Path(sys.argv[0]).parent / "told"
def hear(number, frame):
    told.write_text(signal.Signals(number).name)
    sys.exit(130)
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, hear)
told.write_text("nothing")
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGINT}})
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("module", ["stockade.cli.app", "typer", "stockade.cli.up"])
def test_while_commands_are_loaded(module: str) -> None:
    """Whatever is being loaded: status 130, and not a word."""
    done = subprocess.run(
        [sys.executable, "-c", WHILE_LOADING, module], capture_output=True, check=False, timeout=90
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_while_commands_are_put_together() -> None:
    """After loading, before any command: no other status, and no traceback either."""
    code = (
        "import os, signal, typer.main\n"
        "from stockade.cli import main\n"
        "real = typer.main.get_command\n"
        "typer.main.get_command = lambda app: (os.kill(os.getpid(), signal.SIGINT), real(app))[1]\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_up_detached(tmp_path: Path) -> None:
    """`up --detach` ends the daemon it began by the same signal, at once, and says so."""
    told = tmp_path / "told"
    script = tmp_path / "stockaded"
    script.write_text(NEVER_READY.format(python=sys.executable))
    script.chmod(0o755)
    home = tmp_path / "home"
    terminal = Terminal(
        str(home),
        "up",
        "--detach",
        before=f"from stockade.cli import installed, up; from pathlib import Path\n"
        f"installed.program = lambda: Path({str(script)!r}); up.prepare = lambda *_: None\n",
    )
    try:
        for _ in range(1800):
            if told.exists() and told.read_text():
                break
            time.sleep(0.05)
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.expect("no daemon was left running")
        assert terminal.process.wait(90) == 130
    finally:
        terminal.close()
    assert told.read_text() == "SIGINT"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOCKADE_HOME", str(home))
        assert not is_served(Home.locate())
