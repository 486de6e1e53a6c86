"""A policy state comes into force: recorded with its receipt, then for everybody at once.

For callers inside `Worlds.changing`. Trusted so that whatever fails until the end leaves the state
before in force. Raises `Conflict`, and `Unavailable` when it cannot be recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.clock import Clock
from daemon.policy import states as policy_states
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.world import World
from daemon.worlds import Worlds
from ledger.chain import Entry


@dataclass(frozen=True, slots=True)
class Enacted:
    """A policy state that has just come into force."""

    number: int
    digest: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Enactment:
    """See the module."""

    worlds: Worlds
    writer: Writer
    clock: Clock

    async def enact(
        self, changed: World, *, by: str, cause: str, kind: str, body: Mapping[str, object]
    ) -> Enacted:
        """Records the state of this world, with a receipt, and puts it in force."""
        now, packed = self.clock.now_ms(), await policy_states.pack(changed)

        def operation(tx: Tx) -> Enacted:
            number = policy_states.put_in_force(tx, packed, by=by, cause=cause, now_ms=now)
            receipt = {
                "principal": by,
                "policy_digest": changed.digest,
                "version": number,
                **body,
            }
            return Enacted(number, changed.digest, tx.receipt(kind, receipt, principal=by))

        with self.worlds.recording():
            enacted = await self.writer.write(operation)
            # Whatever failed until here left the set before in force: this is the only step.
            await self.worlds.succeed(changed)
        return enacted
