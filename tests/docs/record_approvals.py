"""Records docs/approvals-session.md and docs/approvals-prompt.svg from a real session.

Run it by `make session`. A daemon, a caller's terminal and an approver's, both tmux of 80 columns,
and keys as a person presses them. What is written is what the terminals showed; nothing is drawn.
"""

import re
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

from stockade.cli.desk import GRACE_SECONDS
from stockade.home import Home
from tests.docs.pages import ROOT
from tests.pane import Pane
from tests.running import CONFIG, make_directory, running

PAGE = ROOT / "docs" / "approvals-session.md"
PICTURE = ROOT / "docs" / "approvals-prompt.svg"
STOCKADE = Path(sys.executable).parent / "stockade"
TOKEN = "ghp_" + "R4nd0mL00k1ngV4lue" * 2

PATCH = """\
--- a/notes/list.txt
+++ b/notes/list.txt
@@ -1,3 +1,3 @@
 milk
-eggs
+two dozen eggs
 bread
"""
POLICY = """\
// Command lines are looked at by a person, whatever else is permitted.
@id("ask-before-shell")
forbid (principal, action == Action::"call_unattended", resource == Tool::"run_shell");
"""
HEAD = """\
# A session at the approver's terminal

Recorded by `make session` from real terminals of 80 columns (tmux), with a daemon of its own. Ids,
digests, times and ports differ each time; a test plays it again and compares the rest.
"""
# Ids, digests and times, which differ each time.
CHANGING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\bdev-[a-z0-9]+\b"), "DEVICE"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "CLOCK"),  # of another day
    (re.compile(r"\d+:\d\d:\d\d\b"), "CLOCK"),
    (re.compile(r"\b\d+:\d\d\b"), "CLOCK"),
    (re.compile(r"\b\d+ (?:s|min|h) left\b"), "LEFT"),
    (re.compile(r"\bin \d+ ms\b"), "in SOME ms"),
    (re.compile(r" +"), " "),
)


@dataclass
class Recording:
    """Scenes with what was on the screen, and the coloured screen of the picture."""

    scenes: list[tuple[str, str]] = field(default_factory=list)
    picture: str = ""

    def add(self, said: str, pane: Pane) -> None:
        """A scene: what is to be seen on a terminal now."""
        self.scenes.append((said, _trimmed(pane.screen())))

    def text(self) -> str:
        """The page."""
        parts = [f"{said}\n\n```\n{screen}\n```\n" for said, screen in self.scenes]
        return "\n".join((HEAD, *parts))


def stable(text: str) -> str:
    """What is the same each time it is recorded."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return text


def record() -> Recording:
    """Plays the session."""
    notes = make_directory("stockade-session-")
    notes.chmod(0o777)
    workspace = f'[workspaces.notes]\npath = "{notes}"\naccess = "write"\n'
    try:
        with ExitStack() as stack, running(CONFIG + workspace) as daemon:
            (daemon.home.policies / "ours.cedar").write_text(POLICY)
            assert daemon.cli("policy", "apply").status == 0
            phone = daemon.pair_device("phone", "approvers")
            return _played(stack, daemon.home, phone)
    finally:
        shutil.rmtree(notes, ignore_errors=True)


def _played(stack: ExitStack, laptop: Home, phone: Home) -> Recording:
    made = Recording()

    def open_(home: Home, *words: str) -> Pane:
        pane = Pane([str(STOCKADE), *words], {"STOCKADE_HOME": str(home.config)})
        return stack.enter_context(pane)

    def call(tool: str, **arguments: str) -> Pane:
        words = [part for name, value in arguments.items() for part in ("--arg", f"{name}={value}")]
        caller = open_(laptop, "call", tool, *words)
        caller.expect("waiting for approval")
        return caller

    desk = open_(phone, "approvals", "watch")
    desk.expect("nothing waits for you")
    _scenes(made, desk, call)
    words = ("--arg=workspace=notes", "--arg=path=list.txt", "--arg=content=other")
    again = open_(laptop, "call", "write_file", *words)
    again.expect("succeeded")
    made.add("The next call like it asks nobody:", again)
    desk.press("q")
    desk.ended()
    made.add("`q` quits, and what was answered stays on the approver's terminal:", desk)
    leases = open_(phone, "leases", "list")
    leases.ended()
    made.add("`stockade leases list` has it, and `stockade leases revoke` ends it:", leases)
    return made


def _scenes(made: Recording, desk: Pane, call: Callable[..., Pane]) -> None:
    curl = f"curl -H 'Authorization: Bearer {TOKEN}' https://example.org/p\u0430th"
    caller = call("run_shell", command=curl)
    made.add("An agent calls a tool. Its own terminal says what it waits for:", caller)
    _ready(desk, "command = a command line")
    made.add(
        "The approver's terminal, where `stockade approvals watch` runs. The token is masked, and "
        "a letter\nthat is not the one it looks like is shown as its number:",
        desk,
    )
    made.picture = desk.screen(colours=True)
    desk.press("r")
    desk.expect("no, because")
    made.add("`r` is for a no, which has a reason:", desk)
    sleep(GRACE_SECONDS)
    desk.press_until("1", "nothing waits for you")
    caller.expect("rejected")
    made.add("`1`, and the caller is told:", caller)
    _lease(made, desk, call)


def _lease(made: Recording, desk: Pane, call: Callable[..., Pane]) -> None:
    first = call("write_file", workspace="notes", path="list.txt", content=PATCH)
    _ready(desk, "content = a diff")
    made.add("Another call: what it writes is a diff, and is shown as one.", desk)
    desk.press("Space")
    desk.expect('workspace = "notes"', "digest")
    made.add("Space reads on; without that there is no yes.", desk)
    desk.press("b")
    desk.expect("content: NOT BOUNDED YET")
    made.add("`b` is for a lease within bounds. No narrow one fits a long text:", desk)
    desk.press("1")
    desk.expect("content: ANYTHING")
    sleep(GRACE_SECONDS)
    made.add("`1` lets that argument be anything, and nothing but that one:", desk)
    desk.paste("y")
    desk.expect("a paste: no answer")
    made.add("A `y` that is pasted is no answer:", desk)
    sleep(GRACE_SECONDS)
    desk.press_until("y", "yes, and a lease until")
    first.expect("succeeded")
    made.add("One that is pressed is. The call runs:", first)


def _ready(desk: Pane, *texts: str) -> None:
    desk.expect("a yes, once", *texts)
    sleep(GRACE_SECONDS + 0.2)


def _trimmed(screen: str) -> str:
    lines = [line.rstrip() for line in screen.splitlines()]
    return "\n".join(lines).strip("\n")


def picture(screen: str) -> str:
    """The screen as an SVG that fetches nothing."""
    from io import StringIO

    from rich.ansi import AnsiDecoder
    from rich.console import Console

    console = Console(record=True, width=80, file=StringIO(), force_terminal=True)
    for line in AnsiDecoder().decode(screen.rstrip("\n")):
        console.print(line, overflow="crop", no_wrap=True)
    svg = console.export_svg(title="stockade approvals watch", unique_id="stockade")
    svg = svg.replace("Fira Code", "ui-monospace").replace(
        "font-family: arial", "font-family: sans"
    )
    return re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)


def main() -> None:
    """Writes both."""
    made = record()
    PAGE.write_text(made.text(), encoding="utf-8")
    PICTURE.write_text(picture(made.picture), encoding="utf-8")


if __name__ == "__main__":
    main()
