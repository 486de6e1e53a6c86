"""Policies change under load: no call is lost, and none is decided by a mixture of two sets."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stockade.v1 import call_pb2, policy_pb2
from tests.promises.acting import add_tool, entries, export, policy_files, run
from tests.running import CONFIG, RunningDaemon, finished, running

CALLS = 1500
PER_SECOND = 500
CLIENTS = 8
RATES = (
    "[rates]\ncalls_per_second = 100000\ncalls_burst = 100000\n"
    "administration_per_second = 100000\nadministration_burst = 100000\n"
)
SECRET = '[[secrets]]\nreference = "secret://global/key"\nenv = "KEY"\n'


Sets = dict[str, list[policy_pb2.PolicyFile]]


def rules(name: str) -> str:
    """Three questions to each call, each answered by a policy whose id says of which set it is."""
    return (
        f'@id("{name}-call") permit (principal, action == Action::"call", resource);\n'
        f'@id("{name}-tier") permit (principal, action == Action::"run_in_process", resource);\n'
        f'@id("{name}-secret") forbid (principal, action == Action::"use_secret", resource);\n'
    )


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG + RATES) as started:
        yield started


def test_reload_under_load(daemon: RunningDaemon) -> None:
    """500 calls a second while two sets take turns: each has one end, and is decided by one set."""
    with daemon.client() as owner:
        add_tool(owner, "keyed", ["/bin/true"], rest=SECRET)
        sets = {name: policy_files(rules(name)) for name in ("a", "b")}
        digests = {owner.apply_policy(files).digest: name for name, files in sets.items()}
        done = threading.Event()
        changes = threading.Thread(target=_take_turns, args=(daemon, sets, done))
        changes.start()
        try:
            ends = _offer(daemon)
        finally:
            done.set()
            changes.join()
        assert Counter(ends) == {(call_pb2.CALL_STATE_DENIED, "FORBIDDEN"): CALLS}
        bodies = [one["body"] for one in entries(export(owner)) if one["kind"] == "call.denied"]
    used = Counter(_set_of(body, digests) for body in bodies)
    assert sum(used.values()) == CALLS
    assert set(used) == {"a", "b"}


def _take_turns(daemon: RunningDaemon, sets: Sets, done: threading.Event) -> None:
    with daemon.client() as client:
        while not done.is_set():
            for files in sets.values():
                client.apply_policy(files)


def _offer(daemon: RunningDaemon) -> list[tuple[int, str]]:
    """One call every two milliseconds, whether those before have ended or not."""
    clients = [daemon.client() for _ in range(CLIENTS)]
    began = time.monotonic()

    def call(number: int) -> tuple[int, str]:
        end = finished(run(clients[number % CLIENTS], "keyed"))
        return end.state, end.reason

    try:
        with ThreadPoolExecutor(CLIENTS * 8) as threads:
            under_way = []
            for number in range(CALLS):
                time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
                under_way.append(threads.submit(call, number))
            return [one.result() for one in under_way]
    finally:
        for client in clients:
            client.close()


def _set_of(body: dict[str, object], digests: dict[str, str]) -> str:
    """The set whose digest the record carries, if every question was answered by that set alone."""
    name = digests[str(body["policy_digest"])]
    asked = body["questions"]
    assert isinstance(asked, list)
    assert [one["action"] for one in asked] == ["call", "run_in_process", "use_secret"]
    for question in asked:
        ours = [one for one in question["policies"] if one.startswith(("a-", "b-"))]
        assert ours
        assert all(one.startswith(f"{name}-") for one in ours)
    return name
