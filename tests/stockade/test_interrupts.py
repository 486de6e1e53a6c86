"""Ctrl-C where a person waits, or is asked: what is left behind is said, on a line of its own."""

import os
import signal
from collections.abc import Iterator

import pytest

from stockade.v1 import call_pb2
from tests.stockade.on_terminal import Terminal
from tests.stockade.serving import Daemon, World, output, statement

CALL = "01988a3c-5d1f-7000-8000-000000000001"
APPROVAL = statement(1).approval_id


@pytest.mark.parametrize(
    ("command", "when", "left"),
    [
        (("calls", "watch", CALL), "begun", f"the call goes on: stockade calls watch {CALL}"),
        (
            ("devices", "invite", "--name", "phone", "--group", "approvers"),
            "[y/N]",
            "the invitation is closed",
        ),
        (("approvals", "approve", APPROVAL), "[y/N]", ""),
        (("secrets", "put", "token"), "(hidden):", ""),
    ],
    ids=lambda part: " ".join(part[:2]) if isinstance(part, tuple) else "",
)
def test_ctrl_c(
    daemon: Daemon, world: World, command: tuple[str, ...], when: str, left: str
) -> None:
    """Ctrl-C ends the command with 130, changes nothing, and leaves the cursor on a new line."""

    def going_on() -> Iterator[call_pb2.CallEvent]:
        yield output(b"begun\n")
        world.cancelled.wait(90)

    world.watched = going_on
    world.add(statement(1))
    asked = len(world.requests)
    terminal = Terminal(str(daemon.home.config), *command)
    try:
        terminal.expect(when)
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.expect("\r\n")
        if left:
            terminal.expect(left)
            terminal.expect("\r\n")
        assert terminal.process.wait(90) == 130
    finally:
        world.cancelled.set()
        terminal.close()
    assert world.confirmed == []
    assert [one for one in world.requests[asked:] if "InviteDevice" not in type(one).__name__] == []
