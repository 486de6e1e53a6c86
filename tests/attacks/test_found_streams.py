"""A stream that was allowed once must not go on telling whoever may no longer be told."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.errors import NotPermitted, StockadeError
from tests.attacks.marks import GOOD
from tests.promises.acting import apply, python_tool
from tests.running import RunningDaemon, local_device

DEADLINE = 90
NOBODY_FOLLOWS = """
@id("auditors-follow-no-more")
forbid (principal in Group::"auditors", action == Action::"follow_ledger", resource);
"""


@pytest.fixture
def auditor(shared_daemon: RunningDaemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A device that may read the ledger, for now."""
    home = shared_daemon.pair_device(f"a{request.node.name[-30:]}", "auditors")
    with Client.open(home) as client:
        yield client


def follow(client: Client, meanwhile: Callable[[], str]) -> tuple[bool, StockadeError]:
    """Whether a follower of the ledger hears of a call made meanwhile; how its stream ends."""
    calls: set[str] = set()
    ended: list[StockadeError] = []
    begun = threading.Event()

    def listen() -> None:
        try:
            for receipt in client.follow_ledger(after_sequence=1):
                calls.add(str(json.loads(receipt.canonical)["body"].get("call", "")))
                begun.set()
        except StockadeError as error:
            ended.append(error)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert begun.wait(DEADLINE)
    made = meanwhile()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    return made in calls, ended[0]


NOBODY_WATCHES = """
@id("operators-watch-no-more")
forbid (principal in Group::"operators", action == Action::"watch_call", resource);
"""
TALKS = """
import time
while True:
    print("still here", flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def watcher(shared_daemon: RunningDaemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A device that may watch others' calls, for now."""
    home = shared_daemon.pair_device(f"w{request.node.name[-30:]}", "operators")
    with Client.open(home) as client:
        yield client


@pytest.fixture
def talking(shared_daemon: RunningDaemon) -> Iterator[str]:
    """A call of the owner's that writes for as long as it is let; its id."""
    with shared_daemon.client() as owner:
        python_tool(owner, "talks", TALKS)
        call_id = new_call_id()
        events = owner.call("talks", {}, call_id=call_id, detach=True)
        next(iter(events))
        yield call_id
        owner.cancel_call(call_id)
        owner.remove_tool("talks")


def watch(client: Client, call_id: str, meanwhile: Callable[[], object]) -> StockadeError | None:
    """Does that once output was heard; how the watch ends."""
    heard = False
    try:
        for event in client.watch_call(call_id):
            if event.HasField("output") and not heard:
                heard = True
                meanwhile()
    except StockadeError as error:
        return error
    return None


def call(client: Client) -> str:
    """A call; its id."""
    return [event.call_id for event in client.call("read_file", GOOD)][-1]


def test_a_device_taken_out_of_its_group_hears_no_more(
    shared_daemon: RunningDaemon, auditor: Client
) -> None:
    """Who loses a group loses the streams that it was let into for it."""
    device_id = local_device(auditor).device_id
    with shared_daemon.client() as owner:

        def demoted() -> str:
            owner.set_device_groups(device_id, [])
            return call(owner)

        heard, ended = follow(auditor, demoted)
    assert not heard
    assert isinstance(ended, NotPermitted)
    assert ended.reason == "NOT_PERMITTED"


def test_a_policy_that_forbids_a_stream_ends_it(
    shared_daemon: RunningDaemon, auditor: Client
) -> None:
    """A forbid that was applied holds for the streams that are open, too."""
    with shared_daemon.client() as owner:

        def forbidden() -> str:
            apply(owner, NOBODY_FOLLOWS)
            return call(owner)

        try:
            heard, ended = follow(auditor, forbidden)
        finally:
            apply(owner, "")
    assert not heard
    assert isinstance(ended, NotPermitted)


def test_a_watcher_taken_out_of_its_group_hears_no_more_of_a_call(
    shared_daemon: RunningDaemon, watcher: Client, talking: str
) -> None:
    """What policy is asked about the call itself is asked again at each of its events."""
    device_id = local_device(watcher).device_id
    with shared_daemon.client() as owner:
        ended = watch(watcher, talking, lambda: owner.set_device_groups(device_id, []))
    assert isinstance(ended, NotPermitted)
    assert ended.reason == "NOT_PERMITTED"


def test_a_policy_that_forbids_watching_ends_the_watch_of_a_call(
    shared_daemon: RunningDaemon, watcher: Client, talking: str
) -> None:
    """Also where the call itself goes on."""
    with shared_daemon.client() as owner:
        try:
            ended = watch(watcher, talking, lambda: apply(owner, NOBODY_WATCHES))
        finally:
            apply(owner, "")
    assert isinstance(ended, NotPermitted)
