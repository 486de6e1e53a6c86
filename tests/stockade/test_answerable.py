"""Whether anybody would hear a question: asked by the real function, in a real shell's jobs."""

import shlex
import sys
from pathlib import Path

from tests.pane import Pane

_ASKS = "from stockade.cli.terminal import answerable; print('may ask:', answerable(), flush=True)"


def test_a_job_in_the_background_of_a_shell_does_not_ask(tmp_path: Path) -> None:
    """Its input is the terminal all the same; the shell would stop it, and nobody see why."""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(_ASKS)}"
    lines = [f"{command} > behind.txt &", "wait", f"{command} > before.txt"]
    lines += [f"{command} < /dev/null > without.txt", "echo all done", ""]
    (tmp_path / "lines").write_text("\n".join(lines))
    with Pane(["bash", "--norc", "-i"]) as shell:
        shell.press(f"cd {shlex.quote(str(tmp_path))} && . ./lines", "Enter")
        shell.expect("all done")
    found = {one.stem: one.read_text().strip() for one in tmp_path.glob("*.txt")}
    assert found == {
        "behind": "may ask: False",
        "before": "may ask: True",
        "without": "may ask: False",
    }
