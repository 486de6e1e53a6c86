"""The gate's way to the rest of the daemon: who is it, and may they, and note it if not."""

from daemon.acts import may_do
from daemon.calls.asked import Asked, Witness, ruled
from daemon.clock import Clock
from daemon.errors import Fault, RefusedByPolicy
from daemon.identity.devices import Devices
from daemon.permitted import set_permitted_under
from daemon.principal import Principal
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from policy.entities import DAEMON, CallEntity, Entity
from policy.pdp import Decision, Question
from policy.values import EntityUid

MAX_FIELD = 200

_FOR_A_PERSON = "do it on the agent's device: what only a person may do, no agent may"
_FOR_AN_OWNER = "an owner can change the device's groups (`stockade devices groups`) or the policy"


class Permission:
    """Answers the gate, and the services that ask for themselves."""

    def __init__(self, devices: Devices, worlds: Worlds, writer: Writer, clock: Clock) -> None:
        self._devices = devices
        self._worlds = worlds
        self._writer = writer
        self._clock = clock

    def principal(self, certificate: bytes, origin: str) -> Principal:
        """The principal of a verified certificate; raises `Unauthenticated`."""
        return self._devices.principal(certificate, origin)

    def ask(
        self,
        principal: Principal,
        action: str,
        resource: EntityUid = DAEMON,
        entities: tuple[Entity, ...] = (),
    ) -> Decision:
        """Policy's answer to an administrative question; an agent's device is asked about too."""
        return self._ask(self._worlds.current, principal, action, resource, entities)

    def _ask(
        self,
        world: World,
        principal: Principal,
        action: str,
        resource: EntityUid,
        entities: tuple[Entity, ...] = (),
        witness: Witness = lambda _question, _decision: None,
    ) -> Decision:
        return may_do(
            world,
            world.subjects(principal),
            action,
            time=self._clock.now(),
            origin=principal.origin,
            resource=resource,
            entities=entities,
            witness=witness,
        )

    def require(self, principal: Principal, action: str, resource: EntityUid = DAEMON) -> None:
        """Policy's yes to an administrative act; raises `RefusedByPolicy`."""
        world, asked = self._worlds.current, list[tuple[Question, Decision]]()
        decision = self._ask(
            world, principal, action, resource, witness=lambda *one: asked.append(one)
        )
        if decision.allowed:
            set_permitted_under(world.digest)
            return
        because = f" (policy {decision.reasons[0].id})" if decision.reasons else ""
        raise RefusedByPolicy(
            f"policy does not let {principal.shown} do {action}{because}",
            ruled=ruled(world.digest, [Asked.of(*one) for one in asked]),
            code="NOT_PERMITTED",
            fix=_FOR_A_PERSON if principal.agent else _FOR_AN_OWNER,
        )

    def may_with_call(
        self, principal: Principal, action: str, call: CallEntity, gone: tuple[Entity, ...] = ()
    ) -> bool:
        """Policy's answer about one call: watch_call or cancel_call.

        `gone` are the call's tool and device as they were, should they not exist any more.
        """
        return self.ask(principal, action, call.uid, (call, *gone)).allowed

    async def record_refusal(self, subject: str, origin: str, rpc: str, fault: Fault) -> None:
        """Makes the receipt of an RPC that was refused; raises `Unavailable`."""
        body = {
            "principal": subject,
            "origin": origin[:MAX_FIELD],
            "rpc": rpc[:MAX_FIELD],
            "reason": fault.code,
            **fault.ruled,
        }
        await self._writer.write(lambda tx: tx.receipt("rpc.refused", body, principal=subject))
