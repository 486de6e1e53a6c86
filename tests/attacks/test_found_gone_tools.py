"""Taking a tool away must not change who may watch or cancel the calls of it that still run."""

from collections.abc import Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.errors import NotFound
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, policy, python_tool
from tests.running import RunningDaemon

CODE = "import time\nprint('for its caller alone', flush=True)\ntime.sleep(60)\n"
NOBODY_WATCHES = """
@id("nobody-watches")
forbid (principal, action == Action::"watch_call", resource)
when { resource.tool in Toolset::"local" };
"""


@pytest.fixture
def orphan(shared_daemon: RunningDaemon, caller: Client) -> Iterator[str]:
    """A call that runs, and whose tool is gone."""
    with shared_daemon.client() as owner, policy(owner, ALONE):
        python_tool(owner, "leaving", CODE)
        call_id = new_call_id()
        events = caller.call("leaving", {}, call_id=call_id, detach=True)
        assert any(event.HasField("output") for event in events)
        owner.remove_tool("leaving")
        yield call_id
        owner.cancel_call(call_id)


def test_who_may_read_the_ledger_may_not_cancel_a_call_whose_tool_is_gone(
    shared_daemon: RunningDaemon, orphan: str
) -> None:
    """An auditor changes nothing, also not once a tool was removed."""
    home = shared_daemon.pair_device("auditor", "auditors")
    with Client.open(home) as auditor, pytest.raises(NotFound):
        auditor.cancel_call(orphan)
    with shared_daemon.client() as owner:
        assert call_pb2.CALL_STATE_RUNNING in {
            call.state for call in owner.list_calls().calls if call.call_id == orphan
        }


def test_a_caller_keeps_its_call_when_the_tool_goes(caller: Client, orphan: str) -> None:
    """Whoever called may watch and cancel until the end, whatever becomes of the tool."""
    with caller.watch_call(orphan) as events:
        assert any(event.HasField("output") for event in events)
    assert caller.cancel_call(orphan).state == call_pb2.CALL_STATE_CANCELLED


def test_what_is_forbidden_of_a_tool_stays_forbidden_when_it_goes(
    shared_daemon: RunningDaemon, caller: Client, orphan: str
) -> None:
    """A forbid that speaks of the tool's attributes or toolset holds for its last calls too."""
    with (
        shared_daemon.client() as owner,
        policy(owner, ALONE + NOBODY_WATCHES),
        pytest.raises(NotFound),
    ):
        list(caller.watch_call(orphan))
