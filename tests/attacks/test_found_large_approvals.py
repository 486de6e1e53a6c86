"""Calls with arguments as large as they may be, so many that a list of them fits in no message."""

from tests.promises.acting import ask
from tests.running import RunningDaemon

CALLS = 20
SIZE = 1_000_000


def test_many_large_calls_do_not_blind_the_approvers(daemon: RunningDaemon) -> None:
    """What waits can be listed whatever its size: the oldest first, the rest as those are gone."""
    with daemon.client() as client:
        waiting = [
            ask(
                client,
                "write_file",
                detach=True,
                workspace="work",
                path=f"{number}",
                content="x" * SIZE,
            )
            for number in range(CALLS)
        ]
        for one in waiting:
            one.events.cancel()
        pending = [one.call_id for one in waiting]
        while pending:
            listed = [approval.call_id for approval in client.list_approvals()]
            assert listed
            assert listed == pending[: len(listed)]
            for call_id in listed:
                client.cancel_call(call_id)
            pending = pending[len(listed) :]
        assert client.list_approvals(settled=True)
