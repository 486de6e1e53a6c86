"""Found by measuring: a bomb that is called again at once costs its neighbours more than it runs.

To end it and to begin the next took most of the daemon's time. So it rests, for whoever called it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import ALONE, apply, connect, kinds, python_tool, run, state, until
from tests.running import RunningDaemon, finished, running

FLOOD = "while True: print('x' * 65536)"
REST = "[calls]\nrest_seconds = 60\n"
SEVERAL = 200


@pytest.fixture(scope="module")
def daemon(workspace: Path) -> Iterator[RunningDaemon]:
    with running(config_with(workspace) + REST) as made:
        with made.client() as client:
            apply(client, ALONE)
            for name in ("flood", "flood_many", "flood_one"):
                python_tool(client, name, FLOOD, rest="[limits]\noutput_kib = 64\n")
            python_tool(client, "small", "print('ok')")
        yield made


@pytest.fixture(scope="module")
def other_home(daemon: RunningDaemon) -> Home:
    return daemon.pair_device("other", "callers", "owners")


def reason(client: Client, tool: str) -> str:
    return finished(run(client, tool)).reason


def begin(client: Client, tool: str) -> str:
    """A call that goes on by itself, once it is recorded; its id."""
    call_id = new_call_id()
    with client.call(tool, {}, call_id=call_id, detach=True) as events:
        next(iter(events))
    return call_id


def test_a_bomb_rests_for_who_called_it_and_for_nobody_else(
    daemon: RunningDaemon, other_home: Home
) -> None:
    """Its next run is permitted and waits; other tools, and other callers of it, do not."""
    with daemon.client() as client, connect(other_home, daemon) as other:
        assert reason(client, "flood") == "OUTPUT_LIMIT"
        again = begin(client, "flood")
        assert reason(client, "small") == "SUCCEEDED"
        assert reason(other, "flood") == "OUTPUT_LIMIT"
        assert reason(other, "small") == "SUCCEEDED"
        assert state(client, again)[0] == "PERMITTED"
        client.cancel_call(again)
        assert until(lambda: state(client, again)[0] == "CANCELLED")
        assert "call.started" not in kinds(client, again)


def test_two_hundred_bombs_at_once_do_not_all_go_off(daemon: RunningDaemon) -> None:
    """Those that had no place yet when the first was killed rest; the caller's other tools run."""
    with daemon.client() as client:
        bombs = [begin(client, "flood_many") for _ in range(SEVERAL)]

        def killed() -> int:
            states = [call_pb2.CALL_STATE_KILLED]
            return sum(
                one.call_id in bombs
                for one in client.list_calls(states=states, page_size=500).calls
            )

        assert until(lambda: killed() > 0)
        assert reason(client, "small") == "SUCCEEDED"
        for bomb in bombs:
            client.cancel_call(bomb)
        assert killed() < SEVERAL / 2
