"""A world that another has taken the place of: no longer held than calls need it, and not all gone
at once.
"""

import weakref

import pytest

from daemon import worlds
from daemon.calls.hearing import Ruling
from daemon.clock import Clock
from daemon.config import Config
from daemon.identity.devices import Devices
from daemon.worlds import Worlds
from identity.names import TrustDomain
from tests.daemon.judging import verdict, world

pytestmark = pytest.mark.anyio

COUNT = 600
MANY = "".join(
    f'permit (principal == Device::"dev-{n:016}", action == Action::"call", resource);\n'
    for n in range(COUNT)
)


def in_force() -> Worlds:
    devices = Devices(TrustDomain("stockade.test"), Clock(), lambda _: True)
    return Worlds(Config(), devices, "dev-local")


async def test_what_was_in_force_goes_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no call is judged by it any more, with a rest after every few of its policies."""
    there = in_force()
    there.replace(world(MANY))
    gone = weakref.ref(there.current.bundle)
    left: list[int] = []

    def rest() -> None:
        left.append(gone() is not None)

    monkeypatch.setattr(worlds, "rest", rest)
    await there.succeed(world())
    assert gone() is None
    # First it was nobody's, and then its policies went in pieces.
    assert left.count(False) > 2 * COUNT // 128


async def test_a_call_that_is_judged_by_it_still_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds it has all of it: nothing is taken out of what may be asked yet."""
    there = in_force()
    old = world(MANY)
    there.replace(old)
    before = verdict(old, "mild")
    rests: list[None] = []
    monkeypatch.setattr(worlds, "rest", lambda: rests.append(None))
    await there.succeed(world())
    after = verdict(old, "mild")
    assert before.ruling is after.ruling is Ruling.PERMIT
    assert after.policies == before.policies
    assert len(rests) >= worlds._PATIENCE
    assert len(old.bundle.policies) > COUNT
