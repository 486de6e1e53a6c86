"""What policies are told of the entities: changed by an operator, recorded, then in force at once.

Trusted so that a change is whole or not at all, that what it names is there, and that maintenance
is a switch which some policy heeds and which whoever turns it on can turn off. Every change is a
policy state of its own: the digest that decisions carry changes, so what waits for approval was
asked under another one and is void. Raises `BadRequest`, `NotFound`, `Conflict`, and `Unavailable`
when it cannot be recorded.
"""

from collections.abc import Callable, Sequence

from daemon.acts import may_do
from daemon.clock import Clock
from daemon.errors import BadRequest, Conflict, NotFound
from daemon.policy import states as policy_states
from daemon.policy.enactment import Enacted, Enactment
from daemon.principal import Principal
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from policy.entity_data import Change, EntityData, Join, Leave, Tag, Untag
from policy.errors import PolicyError
from policy.usage import forbids_by_context
from policy.values import EntityUid

MAX_CHANGES = 1000
# What comes into being by being named.
NAMES = frozenset({"Group", "Toolset"})


class Entities:
    """See the module."""

    def __init__(self, worlds: Worlds, writer: Writer, clock: Clock) -> None:
        self._worlds = worlds
        self._clock = clock
        self._enactment = Enactment(worlds, writer, clock)

    @property
    def data(self) -> EntityData:
        """What is in force."""
        return self._worlds.current.data

    def exists(self, uid: EntityUid) -> bool:
        """Whether there is such an entity now."""
        return uid.type in NAMES or uid in self._worlds.current.pdp.entities

    async def change(self, changes: Sequence[Change], principal: Principal) -> Enacted:
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
            return await self._enactment.enact(
                changed,
                by=str(principal),
                cause=policy_states.ENTITIES,
                kind="policy.entities",
                body=body,
            )

    async def set_maintenance(self, on: bool, principal: Principal) -> Enacted:
        """Begins or ends a time of maintenance."""

        def way_back(changed: World) -> bool:
            return may_do(
                changed,
                changed.subjects(principal),
                "set_maintenance",
                time=self._clock.now(),
                origin=principal.origin,
            ).allowed

        async with self._worlds.changing() as world:
            if on:
                _require_heeded(world)
            return await self._switch(world, on, str(principal), way_back)

    async def begin_maintenance(self, by: str, way_back: Callable[[World], bool]) -> Enacted:
        """The same by an alert: `way_back` says whether anybody could end it in that world."""
        async with self._worlds.changing() as world:
            if world.data.maintenance:
                raise Conflict(
                    "it is on already",
                    code="MAINTENANCE_ON",
                    fix="`stockade policy maintenance off` ends it",
                )
            _require_heeded(world)
            return await self._switch(world, True, by, way_back)

    async def _switch(
        self, world: World, on: bool, by: str, way_back: Callable[[World], bool]
    ) -> Enacted:
        changed = await self._worlds.rebuild(data=world.data.with_maintenance(on))
        if on and not way_back(changed):
            raise Conflict(
                "policy would not let you end it again",
                code="MAINTENANCE_LOCKS_OUT",
                fix="permit `set_maintenance` in a time of maintenance, as the default policy does",
            )
        return await self._enactment.enact(
            changed,
            by=by,
            cause=policy_states.MAINTENANCE,
            kind="policy.maintenance",
            body={"on": on},
        )

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
