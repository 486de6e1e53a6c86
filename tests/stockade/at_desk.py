"""At the approver's screen: `approvals watch` on a terminal of a size."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.pane import Pane
from tests.stockade.serving import Daemon

KEYS = "a yes, once"
GRACE = 0.6
COMMAND = "from stockade.cli.main import main; main()"

Open = Callable[..., Pane]


@pytest.fixture
def desk(daemon: Daemon) -> Iterator[Open]:
    """Opens `approvals watch` on a terminal of a size."""
    opened = []

    def open_(*options: str, **size: Any) -> Pane:
        # By env: tmux has a TERM of its own for what it starts.
        given = [f"{key}={value}" for key, value in size.pop("environment", {}).items()]
        code = size.pop("code", COMMAND)
        argv = ["env", *given, sys.executable, "-c", code, "approvals", "watch", *options]
        opened.append(Pane(argv, {"STOCKADE_HOME": str(daemon.home.config)}, **size))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def ready(pane: Pane, *texts: str) -> str:
    """The screen once its keys count."""
    pane.expect(KEYS, *texts)
    time.sleep(GRACE + 0.2)
    return pane.screen()
