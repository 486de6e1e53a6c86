"""Policy as it was: the files, schema and entities behind the digests in a receipt.

Trusted to build a decision point of exactly what a receipt's digests name, or to say that it
cannot. Policies, schemas and entity data are kept for good; entities are kept as long as there is
room. A few of the last decision points are held, since those who look at one call look at its
neighbours. Raises `StartError` for what is stored and damaged, and the store's faults.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from daemon.background_work import beside_calls, rest
from daemon.errors import NotFound
from daemon.policy.policies import Policies, Version
from daemon.store import snapshots
from daemon.store.reader import Reader
from policy.bundle import Bundle
from policy.entity_store import EntityStore
from policy.errors import PolicyError
from policy.pdp import PDP
from policy.snapshot import KeptEntity, parse_snapshot
from policy.values import EntityUid

# A set of 10,000 policies takes some 100 MB.
HELD = 2


@dataclass(frozen=True, slots=True)
class Then:
    """What policy was when a decision was made."""

    digest: str
    pdp: PDP
    # The input schema of each tool there was.
    tools: Mapping[str, Mapping[str, object]] = field(repr=False)
    entities: Mapping[EntityUid, KeptEntity] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gone:
    """Why it cannot be had any more."""

    reason: str


class Archive:
    """See the module."""

    def __init__(self, policies: Policies, reader: Reader) -> None:
        self._policies = policies
        self._reader = reader
        self._held: OrderedDict[tuple[str, str], Then] = OrderedDict()
        self._lock = anyio.Lock()

    async def then(self, policy_digest: str, entities_digest: str) -> Then | Gone:
        """What policy was when these were its digests."""
        key = policy_digest, entities_digest
        # One at a time: building takes memory, and two who ask want the same.
        async with self._lock:
            found = self._held.get(key)
            if found is None:
                made = await self._build(policy_digest, entities_digest)
                if isinstance(made, Gone):
                    return made
                found = self._held[key] = made
            self._held.move_to_end(key)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return found

    async def entities(self, digest: str) -> tuple[KeptEntity, ...] | Gone:
        """The entities of that digest."""
        content = await self._reader.read(lambda connection: snapshots.get(connection, digest))
        if content is None:
            return Gone("the entities of that time are no longer kept")
        return await anyio.to_thread.run_sync(parse_snapshot, content)

    async def _build(self, policy_digest: str, entities_digest: str) -> Then | Gone:
        try:
            version = await self._policies.version(policy_digest)
        except NotFound:
            return Gone("the policies of that time were not kept")
        entities = await self.entities(entities_digest)
        if isinstance(entities, Gone):
            return entities
        return await anyio.to_thread.run_sync(_then, version, entities)


def _then(version: Version, entities: tuple[KeptEntity, ...]) -> Then | Gone:
    if version.schema is None or version.tools is None:
        return Gone("the schema of that time was not kept")
    try:
        with beside_calls():
            bundle = Bundle.build(version.files, version.schema, rest)
            store = EntityStore.build(entities, bundle.schema, rest)
    except PolicyError as error:
        return Gone(f"this version of the daemon cannot read the policies of that time: {error}")
    by_uid = {entity.uid: entity for entity in entities}
    return Then(version.digest, PDP(bundle, store), version.tools, by_uid)
