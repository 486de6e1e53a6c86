"""The ledger's Merkle tree, kept up as far as it is asked for.

Trusted to answer about any part of the ledger in time that does not grow with it, a step at a time
and beside everything else. What it says comes of nodes that are not signed: whoever signs or shows
a root verifies it first (`daemon.ledger.checkpoints`). Raises StoreFault, and the ledger's
ProofError where nodes are gone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio

from daemon.store import tree
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger.merkle import consistency_proof, inclusion_proof
from ledger.tiles import Node


class LedgerTree:
    """See the module."""

    def __init__(self, chain: str, reader: Reader, writer: Writer) -> None:
        self._chain: Final = chain
        self._reader = reader
        self._writer = writer
        self._lock = anyio.Lock()
        self._kept: int | None = None

    async def root(self, size: int) -> bytes:
        """The root over the first `size` receipts, which there must be."""
        await self._grow(size)
        return await self._reader.read(lambda c: tree.subtree(c, self._chain)(0, size))

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """The proof that the first `old` of `size` receipts are the same."""
        await self._grow(size)
        return await self._reader.read(
            lambda c: consistency_proof(old, size, tree.subtree(c, self._chain))
        )

    async def inclusions(self, sequences: Sequence[int], size: int) -> list[tuple[bytes, ...]]:
        """For each receipt, by its number, the proof that it is one of `size`."""
        await self._grow(size)
        return await self._reader.read(
            lambda c: [
                inclusion_proof(sequence - 1, size, tree.subtree(c, self._chain))
                for sequence in sequences
            ]
        )

    async def _grow(self, size: int) -> None:
        async with self._lock:
            if self._kept is None:
                self._kept = await self._reader.read(lambda c: tree.kept(c, self._chain))
            while self._kept + tree.LEAST <= size:
                end = min(self._kept + tree.STEP, size)
                start = self._kept
                made = await self._reader.read(
                    partial(tree.grow, chain=self._chain, size=start, to=end)
                )
                await self._writer.write(partial(self._keep, made))
                self._kept = end - end % tree.LEAST

    def _keep(self, made: Sequence[Node], tx: Tx) -> None:
        tree.keep(tx.connection, self._chain, made)
