"""What is kept of a policy state, and that it came into force. Functions of a transaction.

Every change of what decisions carry (policies, tools, entity data, maintenance) is recorded here,
in the transaction of its receipt: so every digest in a receipt is in the history, with all that it
is the digest of. Raises `Conflict` where another state came into force meanwhile.
"""

import json
from collections.abc import Mapping

import anyio.to_thread

from daemon.errors import Conflict
from daemon.store import policies
from daemon.store.commit import Tx
from daemon.store.ids import PolicyDigest
from daemon.store.policies import Document, PackedPolicy
from daemon.world import World, schema_document

# Why a state came into force. Stored: never renamed.
INITIALISED, APPLIED, ROLLED_BACK, WATCHED = "initialised", "applied", "rolled back", "watched"
TOOLS, ENTITIES, MAINTENANCE, START = "tools", "entities", "maintenance", "start"


async def pack(world: World) -> PackedPolicy:
    """A world's policy state as it is kept."""
    return await anyio.to_thread.run_sync(_pack, world)


def put_in_force(tx: Tx, policy: PackedPolicy, *, by: str, cause: str, now_ms: int) -> int:
    """Keeps a policy state as the one that the next start begins with; its number.

    One that stands in for a set that is not valid is kept for the receipts that name it, and the
    next start tries that set again.
    """
    policies.save(tx.connection, policy, now_ms)
    before = policies.current(tx.connection)
    if policy.stands_in:
        return 0 if before is None else before.number
    if not policies.activate(
        tx.connection, policy.digest, after=before, activated_by=by, cause=cause, now_ms=now_ms
    ):
        raise Conflict(
            "another policy came into force meanwhile",
            code="STORE_CONFLICT",
            fix="`stockade policy history` shows it; try again",
        )
    return 1 if before is None else before.number + 1


def follow(tx: Tx, policy: PackedPolicy, *, by: str, cause: str, now_ms: int) -> None:
    """The same for a change of something else, which may leave the policy state as it is."""
    before = policies.current(tx.connection)
    if before is None or before.digest != policy.digest:
        put_in_force(tx, policy, by=by, cause=cause, now_ms=now_ms)


def _pack(world: World) -> PackedPolicy:
    return PackedPolicy(
        digest=PolicyDigest(world.digest),
        files=Document.of(_json(world.bundle.files)),
        schema=Document.of(schema_document(world)),
        data=Document.of(world.data.encode()),
        stands_in=world.fault is not None,
    )


def _json(files: Mapping[str, str]) -> bytes:
    """As json.dumps writes it with its keys sorted; a file at a time, for the sake of calls."""
    members = [f"{json.dumps(name)}: {json.dumps(files[name])}" for name in sorted(files)]
    return f"{{{', '.join(members)}}}".encode()
