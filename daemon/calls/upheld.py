"""Whether what permitted a call still does, when the call is about to begin.

Between a ruling and its run lie milliseconds, and minutes where the call waits for its turn.
Trusted so that no call begins, by its receipt, under policies, tools or entities that had been
replaced before: asked in the transaction of the start, and again of the whole case where something
was replaced meanwhile. Raises the two errors below and nothing else.
"""

from dataclasses import dataclass

from daemon.calls.endings import LEASE_REVOKED, POLICY_CHANGED
from daemon.calls.hearing import Ruling
from daemon.calls.judge import Verdict, judge
from daemon.calls.live import LiveCall
from daemon.clock import Clock
from daemon.identity.devices import Devices
from daemon.leases.book import LeaseBook
from daemon.outcome import Ending
from daemon.world import World
from daemon.worlds import Worlds


class OvertakenError(Exception):
    """What a call was judged by has been replaced; judge it again."""


class LapsedError(Exception):
    """A permitted call may not begin after all."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Upheld:
    """See the module."""

    worlds: Worlds
    devices: Devices
    leases: LeaseBook
    clock: Clock

    def require_current(self, verdict: Verdict) -> None:
        """For a new call, in the transaction that admits it: raises `OvertakenError`."""
        if self.worlds.unsettled or not _is_of(verdict, self.worlds.current):
            raise OvertakenError

    def require_unchanged(self, live: LiveCall, world: World) -> None:
        """For a permitted one, in the transaction of its start: nothing changed since `require`."""
        if self.worlds.unsettled or self.worlds.current is not world:
            raise OvertakenError
        if not self.leases.holds(live.verdict.lease):
            raise OvertakenError

    async def require(self, live: LiveCall) -> World:
        """The world by which a permitted call may begin now; raises `LapsedError`.

        Policy that is another ends it; where only the entities are others, all is asked again.
        """
        world, verdict = await self.worlds.settled(), live.verdict
        if not self.leases.holds(verdict.lease):
            raise LapsedError(LEASE_REVOKED)
        if _is_of(verdict, world):
            return world
        if verdict.policy_digest != world.digest:
            raise LapsedError(POLICY_CHANGED)
        again, permitted = self._judged_again(live, world), Ruling.PERMIT
        if (again.ruling, again.exact, again.lease) != (permitted, verdict.exact, verdict.lease):
            raise LapsedError(POLICY_CHANGED)
        return world

    def _judged_again(self, live: LiveCall, world: World) -> Verdict:
        """With those who approved it, as they are now, or by the lease that it has a use of."""
        candidate, verdict = live.judged, live.verdict
        approvers = None
        if verdict.heard is not None and verdict.heard.approvers is not None:
            found = (self.devices.as_principal(one, "") for one in verdict.heard.approvers)
            approvers = [one for one in found if one is not None]
        leases = self.leases.taken_by(world, candidate, verdict.lease)
        return judge(world, candidate, self.clock.now(), approvers, leases)


def _is_of(verdict: Verdict, world: World) -> bool:
    """Whether it was judged by what this world is, whichever object it was then."""
    told = verdict.heard
    same_entities = told is None or told.snapshot.digest == world.snapshot.digest
    return verdict.policy_digest == world.digest and same_entities
