"""What an alert brings about by itself: what the configuration names and policy permits its rule.

Each reaction is a question to Cedar whose principal is the rule (`AlertRule::"denied_burst"`), and
is recorded, done or not. Trusted to hold up no call: alerts wait in a bounded line and are dealt
with one by one, beside calls; and to do no more than `MOST_IN_A_MINUTE`, so that whoever provokes
alerts cannot make it work without end. Whom it never shuts out is `daemon.identity.suspending`'s,
that maintenance can be ended `daemon.policy.entities`'. Raises nothing.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog

from daemon.alerts.line import bound
from daemon.alerts.rules import Alert
from daemon.calls.asked import named
from daemon.clock import Clock
from daemon.errors import Conflict, Exhausted, Fault, NotFound, Unavailable
from daemon.identity.suspending import Suspending
from daemon.leases.keeping import LeaseKeeper
from daemon.leases.signers import signed_by
from daemon.policy.entities import Entities
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from policy.contexts import reaction_context
from policy.entities import DAEMON, AlertRuleEntity
from policy.pdp import Decision, Question

_log = structlog.get_logger("stockade.alerts")

MOST_WAITING: Final = 256
MOST_IN_A_MINUTE: Final = 10
_MINUTE_MS: Final = 60_000
# A store that is busy or has failed is asked again: an alert is not worth less for that.
RESTS_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
# What could not be done any more, because it is so already: no reaction, and no receipt.
_SO_ALREADY: Final = frozenset({"ALREADY_SUSPENDED", "NO_LEASES", "MAINTENANCE_ON"})


@dataclass(slots=True)
class Reactions:
    """See the module. Belongs to the event loop."""

    wanted: Sequence[str]
    worlds: Worlds
    suspending: Suspending
    leases: LeaseKeeper
    entities: Entities
    writer: Writer
    clock: Clock
    _waiting: list[Alert] = field(default_factory=list)
    _arrived: anyio.Event = field(default_factory=anyio.Event)
    _done: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_IN_A_MINUTE))

    def hear(self, alert: Alert) -> None:
        """An alert was told."""
        if self.wanted:
            self._waiting.append(alert)
            bound(self._waiting, MOST_WAITING, "reactions")
            self._arrived.set()

    async def keep(self) -> None:
        """Reacts until cancelled."""
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            alert = self._waiting.pop(0)
            for act in self.wanted:
                await self._react(alert, act)

    async def _react(self, alert: Alert, act: str) -> None:
        world = self.worlds.current
        decision = self._decide(world, alert, act)
        if decision is None or not decision.allowed:
            return
        result = ""
        for rest in RESTS_SECONDS:
            try:
                if not result:
                    result = await self._result(alert, act)
                if result not in _SO_ALREADY:
                    # Under which it was decided: the act itself may have replaced it.
                    await self._record(alert, act, result, decision, world.digest)
            except Unavailable as fault:
                _log.error("reaction.delayed", act=act, rule=alert.rule, reason=fault.code)
                await anyio.sleep(rest)
                continue
            return
        _log.error("reaction.lost", act=act, rule=alert.rule, subject=alert.subject)

    def _decide(self, world: World, alert: Alert, act: str) -> Decision | None:
        """Policy's answer, if the alert is of somebody or something that it could be about."""
        resource = DAEMON if act == "start_maintenance" else self.suspending.uid(alert.subject)
        if resource is None:
            return None
        rule = AlertRuleEntity(alert.rule)
        context = reaction_context(
            world.local(self.clock.now()), alert.severity.word, maintenance=world.data.maintenance
        )
        return world.pdp.decide(Question(rule.uid, act, resource, context, (rule,)))

    async def _result(self, alert: Alert, act: str) -> str:
        """Does it; "DONE", or why not."""
        acts: Mapping[str, Callable[[Alert], Awaitable[None]]] = {
            "suspend_principal": self._suspend,
            "revoke_leases": self._revoke_leases,
            "start_maintenance": self._start_maintenance,
        }
        now = self.clock.now_ms()
        try:
            if len(self._done) == MOST_IN_A_MINUTE and now - self._done[0] < _MINUTE_MS:
                raise Exhausted(
                    f"{MOST_IN_A_MINUTE} reactions in a minute",
                    code="REACTIONS_EXHAUSTED",
                    fix="look into the alerts: `stockade ledger tail --kind alert.reaction`",
                )
            await acts[act](alert)
        except Unavailable:
            raise
        except Fault as fault:
            return fault.code
        self._done.append(now)
        return "DONE"

    async def _suspend(self, alert: Alert) -> None:
        why = {"rule": alert.rule, "alert": alert.receipt}
        await self.suspending.suspend(alert.subject, alert.rule, why)

    async def _revoke_leases(self, alert: Alert) -> None:
        """Those given to it, and, of a device, those that it signed, alone or with others."""
        kind, _, name = alert.subject.partition("/")
        found = [
            one.terms.lease_id
            for one in self.leases.book
            if alert.subject == one.row.principal or (kind == "device" and signed_by(one.row, name))
        ]
        if not found:
            raise NotFound(
                "it has no leases", code="NO_LEASES", fix="`stockade leases list` shows them"
            )
        for lease_id in found:
            try:
                await self.leases.revoke(lease_id, f"alert/{alert.rule}", running=True)
            except (Conflict, NotFound):
                continue  # it ended meanwhile, perhaps with the one it was narrowed from

    async def _start_maintenance(self, alert: Alert) -> None:
        def way_back(changed: World) -> bool:
            return any(True for _ in self.suspending.who_could("set_maintenance", changed))

        await self.entities.begin_maintenance(f"alert/{alert.rule}", way_back)

    async def _record(
        self, alert: Alert, act: str, result: str, decision: Decision, policy_digest: str
    ) -> None:
        body = {
            "principal": f"alert/{alert.rule}",
            "severity": alert.severity.word,
            "alert": alert.receipt,
            "act": act,
            "subject": alert.subject,
            "result": result,
            "policies": [one.id for one in named(decision.reasons)],
            "policy_digest": policy_digest,
        }
        _log.warning("reaction", act=act, rule=alert.rule, subject=alert.subject, result=result)
        await self.writer.write(lambda tx: tx.receipt("alert.reaction", body))
