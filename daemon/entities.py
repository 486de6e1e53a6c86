"""What policies are told of the entities: changed by an operator, recorded, then in force at once.

Trusted so that a change is whole or not at all, that what it names is there, and that maintenance
is a switch which some policy heeds and which whoever turns it on can turn off. Every change is a
policy state of its own: the digest that decisions carry changes, so what waits for approval was
asked under another one and is void. Raises `BadRequest`, `NotFound`, `Conflict`, and `Unavailable`
when it cannot be recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon import policy_states
from daemon.acts import may_do
from daemon.clock import Clock
from daemon.errors import BadRequest, Conflict, NotFound
from daemon.principal import Principal
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from ledger.chain import Entry
from policy.entity_data import Change, EntityData, Join, Leave, Tag, Untag
from policy.errors import PolicyError
from policy.usage import forbids_by_context
from policy.values import EntityUid

MAX_CHANGES = 1000
# What comes into being by being named.
NAMES = frozenset({"Group", "Toolset"})


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change made."""

    number: int
    digest: str
    entry: Entry


class Entities:
    """See the module."""

    def __init__(self, worlds: Worlds, writer: Writer, clock: Clock) -> None:
        self._worlds = worlds
        self._writer = writer
        self._clock = clock

    @property
    def data(self) -> EntityData:
        """What is in force."""
        return self._worlds.current.data

    def exists(self, uid: EntityUid) -> bool:
        """Whether there is such an entity now."""
        return uid.type in NAMES or uid in self._worlds.current.pdp.entities

    async def change(self, changes: Sequence[Change], principal: Principal) -> Changed:
        """Does all of the changes, or none."""
        if not 0 < len(changes) <= MAX_CHANGES:
            raise BadRequest(
                f"{len(changes)} changes",
                code="TOO_MANY_ENTITIES",
                fix=f"send 1 to {MAX_CHANGES} at once",
            )
        async with self._worlds.changing() as world:
            for change in changes:
                self._require_there(change)
            try:
                changed = await self._worlds.rebuild(data=world.data.changed(changes))
            except PolicyError as error:
                raise BadRequest(str(error), code=error.code, fix=error.fix) from None
            body = {"changes": [_to_json(change) for change in changes]}
            cause, kind = policy_states.ENTITIES, "policy.entities"
            return await self._put_in_force(changed, str(principal), cause, kind, body)

    async def set_maintenance(self, on: bool, principal: Principal) -> Changed:
        """Begins or ends a time of maintenance."""
        async with self._worlds.changing() as world:
            changed = await self._worlds.rebuild(data=world.data.with_maintenance(on))
            if on:
                _require_heeded(world)
                self._require_way_back(changed, principal)
            cause, kind = policy_states.MAINTENANCE, "policy.maintenance"
            return await self._put_in_force(changed, str(principal), cause, kind, {"on": on})

    def _require_there(self, change: Change) -> None:
        """What is taken away need not be there: it may have gone before."""
        uid = change.child if isinstance(change, Join) else None
        uid = change.uid if isinstance(change, Tag) else uid
        if uid is not None and not self.exists(uid):
            raise NotFound(
                f"there is no {uid}",
                code="UNKNOWN_ENTITY",
                fix="check the name; a secret is known once a tool names it",
            )

    def _require_way_back(self, changed: World, principal: Principal) -> None:
        back = may_do(
            changed,
            changed.subjects(principal),
            "set_maintenance",
            time=self._clock.now(),
            origin=principal.origin,
        )
        if not back.allowed:
            raise Conflict(
                "policy would not let you end it again",
                code="MAINTENANCE_LOCKS_OUT",
                fix="permit `set_maintenance` in a time of maintenance, as the default policy does",
            )

    async def _put_in_force(
        self, changed: World, principal: str, cause: str, kind: str, body: Mapping[str, object]
    ) -> Changed:
        now, packed = self._clock.now_ms(), await policy_states.pack(changed)

        def operation(tx: Tx) -> Changed:
            number = policy_states.put_in_force(tx, packed, by=principal, cause=cause, now_ms=now)
            receipt = {
                "principal": principal,
                "policy_digest": changed.digest,
                "version": number,
                **body,
            }
            return Changed(number, changed.digest, tx.receipt(kind, receipt, principal=principal))

        with self._worlds.recording():
            done = await self._writer.write(operation)
            self._worlds.replace(changed)
        return done


def _require_heeded(world: World) -> None:
    if not forbids_by_context(world.bundle, "maintenance"):
        raise Conflict(
            "no policy in force forbids anything because of `context.maintenance`",
            code="MAINTENANCE_UNHEEDED",
            fix="add the policy `maintenance` of docs/policies.md to the set, and apply it",
        )


def _to_json(change: Change) -> dict[str, str]:
    """For a receipt."""
    match change:
        case Join(child, parent):
            return {"change": "join", "child": str(child), "parent": str(parent)}
        case Leave(child, parent):
            return {"change": "leave", "child": str(child), "parent": str(parent)}
        case Tag(uid, key, value):
            return {"change": "tag", "entity": str(uid), "key": key, "value": value}
        case Untag(uid, key):
            return {"change": "untag", "entity": str(uid), "key": key}
