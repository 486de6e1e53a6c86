"""The command line on a terminal of its own, typed at and read by a test."""

import os
import pty
import select
import subprocess
import sys
import time


class Terminal:
    """The command line on a terminal of its own."""

    def __init__(self, home: str, *arguments: str, before: str = "") -> None:
        self._master, slave = pty.openpty()
        code = (
            f"{before}from stockade.cli import desk; desk.GRACE_SECONDS = 0.3\n"
            "from stockade.cli.main import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "STOCKADE_HOME": home, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, text: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self._master], [], [], left)[0]:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
