"""The ledger's Merkle tree and its checkpoints, beside the receipts they are about.

Trusted to answer with the nodes of the tree that are asked for: the leaves from the receipts, the
rest from what `grow` kept. None of it is signed but the checkpoints, so whoever uses a root or a
proof verifies it. Functions over a connection. Leaves: StoreFault.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select

from daemon.store.engine import insert_once
from daemon.store.tables import checkpoints, receipts, tree_nodes
from ledger.merkle import Subtree, leaf_hash
from ledger.tiles import HEIGHT, WIDTH, Node, grown, subtree_from

STEP: Final = 16 * WIDTH
"""Leaves that one `grow` reads: 8 ms of one core."""
LEAST: Final = WIDTH
"""Fewer leaves than this keep no node."""
KEPT_CHECKPOINTS: Final = 1000

_LEAVES: Final = (
    select(receipts.c.digest)
    .where(receipts.c.chain == bindparam("b_chain"))
    .where(receipts.c.sequence > bindparam("b_start"), receipts.c.sequence <= bindparam("b_end"))
    .order_by(receipts.c.sequence)
)
_NODES: Final = (
    select(tree_nodes.c.hash)
    .where(tree_nodes.c.chain == bindparam("b_chain"), tree_nodes.c.level == bindparam("b_level"))
    .where(tree_nodes.c.number >= bindparam("b_start"), tree_nodes.c.number < bindparam("b_end"))
    .order_by(tree_nodes.c.number)
)
_LAST: Final = select(func.max(tree_nodes.c.number)).where(
    tree_nodes.c.chain == bindparam("b_chain"), tree_nodes.c.level == HEIGHT
)
_LATEST: Final = (
    select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.made_ms)
    .where(checkpoints.c.chain == bindparam("b_chain"))
    .order_by(checkpoints.c.size.desc())
    .limit(1)
)
_EDGE: Final = (
    select(checkpoints.c.size)
    .where(checkpoints.c.chain == bindparam("b_chain"))
    .order_by(checkpoints.c.size.desc())
    .limit(1)
    .offset(bindparam("b_room"))
)
_OLD: Final = delete(checkpoints).where(
    checkpoints.c.chain == bindparam("b_chain"), checkpoints.c.size < bindparam("b_size")
)


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint that was signed. Its note is what counts."""

    chain: str
    size: int
    note: bytes
    made_ms: int


def subtree(connection: Connection, chain: str) -> Subtree:
    """The subtree roots of a chain's tree, for leaves up to what `grow` has reached."""

    def nodes(level: int, start: int, end: int) -> Sequence[bytes]:
        return _nodes(connection, chain, level, start, end)

    return subtree_from(nodes)


def leaves(connection: Connection, chain: str, after: int, to: int) -> Sequence[bytes]:
    """The digests of the receipts after a number, up to another: the leaves of the tree."""
    values = {"b_chain": chain, "b_start": after, "b_end": to}
    return connection.execute(_LEAVES, values).scalars().all()


def kept(connection: Connection, chain: str) -> int:
    """For how many leaves all nodes are kept; a multiple of 256."""
    last = connection.execute(_LAST, {"b_chain": chain}).scalar_one()
    return 0 if last is None else (int(last) + 1) * WIDTH


def grow(connection: Connection, chain: str, size: int, to: int) -> tuple[Node, ...]:
    """What is to be kept of the tree between `size` and `to` leaves, of which `size` are kept."""
    fresh: dict[tuple[int, int], bytes] = {}

    def nodes(level: int, start: int, end: int) -> Sequence[bytes]:
        found = list(_nodes(connection, chain, level, start, end))
        # Nodes of this very step are not in the database yet.
        for number in range(start + len(found), end):
            if (level, number) not in fresh:
                break
            found.append(fresh[level, number])
        return found

    made = []
    for node in grown(size, to, nodes):
        fresh[node.level, node.number] = node.hash
        made.append(node)
    return tuple(made)


def keep(connection: Connection, chain: str, made: Sequence[Node]) -> None:
    """Store nodes; those that are there already stay as they are."""
    for node in made:
        values = {"chain": chain, "level": node.level, "number": node.number, "hash": node.hash}
        insert_once(connection, tree_nodes, values)


def add_checkpoint(
    connection: Connection, row: CheckpointRow, *, room: int = KEPT_CHECKPOINTS
) -> bool:
    """Store a checkpoint; False if there is one of this size. The oldest go where room ends."""
    values = {"chain": row.chain, "size": row.size, "note": row.note, "made_ms": row.made_ms}
    if not insert_once(connection, checkpoints, values):
        return False
    edge = connection.execute(
        _EDGE, {"b_chain": row.chain, "b_room": room - 1}
    ).scalar_one_or_none()
    if edge is not None:
        connection.execute(_OLD, {"b_chain": row.chain, "b_size": edge})
    return True


def latest_checkpoint(connection: Connection, chain: str) -> CheckpointRow | None:
    """The newest checkpoint."""
    row = connection.execute(_LATEST, {"b_chain": chain}).one_or_none()
    return None if row is None else CheckpointRow(chain, row.size, row.note, row.made_ms)


def _nodes(connection: Connection, chain: str, level: int, start: int, end: int) -> Sequence[bytes]:
    if level == 0:
        return [leaf_hash(digest) for digest in leaves(connection, chain, start, end)]
    values = {"b_chain": chain, "b_level": level, "b_start": start, "b_end": end}
    return connection.execute(_NODES, values).scalars().all()
