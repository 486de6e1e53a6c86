"""What is waited for too long is told why: a request not whole, a stream that asks no more."""

from typing import cast

import grpc
import pytest
from anyio import fail_after, sleep_forever

from daemon.principal import Principal
from daemon.rpc import arriving
from daemon.rpc.arriving import Arriving
from daemon.rpc.faults import Context
from daemon.rpc.gate import Gate
from daemon.rpc.live_rpcs import LiveRpc
from identity.names import DeviceId, PrincipalName

DEADLINE = 90

pytestmark = pytest.mark.anyio


class Peer:
    """What a client sends: so many messages, then the end, or nothing any more."""

    def __init__(self, messages: int, *, ends: bool) -> None:
        self._left, self._ends = messages, ends

    async def read(self) -> object:
        if self._left:
            self._left -= 1
            return b"asked"
        if not self._ends:
            await sleep_forever()
        return grpc.aio.EOF


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PROMPT_SECONDS", 0.01)
    monkeypatch.setattr(arriving, "LATE_SECONDS", 0.01)


async def heard(peer: Peer, held: LiveRpc) -> list[object]:
    """What the service gets of it."""
    gate = Gate.__new__(Gate)
    gate._arriving = Arriving()
    return [one async for one in await gate._many(cast("Context", peer), held)]


def made() -> LiveRpc:
    device = DeviceId.generate()
    name = PrincipalName("device", device)
    principal = Principal(name, str(device), "d", frozenset(), "1", b"", 0, "k", "i", "unix:")
    return LiveRpc(principal, 0)


@pytest.mark.parametrize(
    ("messages", "code"), [(0, "REQUEST_UNFINISHED"), (1, "STREAM_IDLE"), (3, "STREAM_IDLE")]
)
async def test_a_stream_that_is_silent_is_told_what_it_did(messages: int, code: str) -> None:
    """One that never asked was not whole; one that had asked is idle, and was whole each time."""
    held = made()
    with fail_after(DEADLINE), held.scope:
        raise AssertionError(await heard(Peer(messages, ends=False), held))
    assert held.fault is not None
    assert held.fault.code == code


async def test_a_stream_that_ends_is_not_cut() -> None:
    """However many messages it had."""
    held = made()
    with fail_after(DEADLINE), held.scope:
        assert await heard(Peer(3, ends=True), held) == [b"asked"] * 3
    assert held.fault is None
