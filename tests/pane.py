"""A terminal as people have one: tmux, of a size, with a program in it, typed at and looked at.

Its server is its own, on a socket in a directory of its own, and ends with it.
"""

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 90.0


class Pane:
    """One window of one tmux server."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stockade-tmux-")
        self._socket = Path(self._folder.name) / "socket"
        # LINES and COLUMNS are those of the terminal that the tests are run from, and tests run at
        # the same time find them set: programs take them for those of their own.
        ours = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("TMUX") and key not in ("LINES", "COLUMNS")
        }
        self._environment = {**ours, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(environment or {})}
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "exec /bin/cat")
        self._tmux("set-option", "-g", "remain-on-exit", "on")
        self._tmux("set-option", "-g", "remain-on-exit-format", "")
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))
        self._tmux("respawn-pane", "-k", f"exec {shlex.join(command)}")

    def screen(self, *, colours: bool = False, scrolled: bool = False) -> str:
        """What is to be seen, right ends trimmed; with `scrolled`, and what was before."""
        options = [*(["-e"] if colours else []), *(["-S", "-"] if scrolled else [])]
        return self._tmux("capture-pane", "-p", *options)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, each alone and after a moment, as a person's fingers have it."""
        for key in keys:
            self._tmux("send-keys", key)
            time.sleep(0.15)

    def press_until(self, key: str, *texts: str) -> str:
        """A key that answers; again, where the machine was so slow that it came too soon."""
        for _ in range(10):
            self.press(key)
            try:
                return self.expect(*texts, seconds=30)
            except AssertionError:
                time.sleep(0.6)
        return self.expect(*texts)

    def write(self, text: str) -> None:
        """Text as fast as it goes."""
        self._tmux("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """What the mouse's middle button does, bracketed if the program asked for that."""
        self._tmux("set-buffer", text)
        self._tmux("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        """The window is of another size now."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def expect(self, *texts: str, seconds: float = PATIENCE_SECONDS) -> str:
        """The screen as soon as all of the texts are on it."""
        deadline = time.monotonic() + seconds
        while True:
            shown = self.screen()
            missing = [text for text in texts if text not in shown]
            if not missing:
                return shown
            assert time.monotonic() < deadline, f"not on the screen: {missing}\n{shown}"
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The program's process."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status of the program, once it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            dead, _, status = self._tmux(
                "display-message", "-p", "#{pane_dead} #{pane_dead_status}"
            ).partition(" ")
            if dead == "1" and status.strip():
                return int(status)
            if dead == "1":
                # A child's end that tmux has missed is found with the next one's.
                self._tmux("run-shell", "true")
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the program and the server."""
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"], check=False, capture_output=True
        )
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self._socket), *arguments],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout
