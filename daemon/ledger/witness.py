"""Being a witness for other ledgers: countersign what only adds to what was seen before.

Trusted to sign for a ledger whose keys the operator named, and only a checkpoint that both of its
keys signed and that is proved to follow the last one countersigned here. What was seen is in the
database, moves by compare-and-swap, and leaves a receipt in this daemon's own ledger: so the
witness is held to its word by its own checkpoints. A ledger whose keys were rotated is followed by
the receipts of the rotations; once it was, keys out of use sign nothing here any more. Raises
`NotFound` (NO_SUCH_LEDGER), `Conflict` (ROLLED_BACK, FORKED), `BadRequest`, StartError for key
files, and StoreFault.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio.to_thread

from daemon.clock import Clock
from daemon.errors import BadRequest, Conflict, NotFound, StartError
from daemon.ledger.keys import LedgerKeys
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger.checkpoint import Checkpoint, check_advance, parse_checkpoint
from ledger.cosign import cosign
from ledger.errors import CheckpointError, KeyFileError, LedgerError, RotationError
from ledger.lineage import MAX_LINEAGE, Lineage, encode_lineage, parse_lineage
from ledger.note import MAX_NOTE, NoteSignature, format_note


@dataclass(frozen=True, slots=True)
class Countersigned:
    """What the witness has seen of a ledger, and its signatures where it has just signed."""

    size: int
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Witness:
    """See the module."""

    keys: LedgerKeys
    ledgers: dict[str, Lineage]
    reader: Reader
    writer: Writer
    clock: Clock

    @classmethod
    def over(
        cls, paths: Sequence[str], keys: LedgerKeys, reader: Reader, writer: Writer, clock: Clock
    ) -> Self:
        """With the keys in these files."""
        found = [_load(Path(path)) for path in paths]
        return cls(keys, {one.chain: one for one in found}, reader, writer, clock)

    async def countersign(
        self,
        chain: str,
        note: bytes,
        since: int,
        proof: Sequence[bytes],
        principal: str,
        stated: bytes = b"",
    ) -> Countersigned:
        """Sign for a checkpoint that follows; without one, or with a proof from elsewhere, ask."""
        named = self.ledgers.get(chain)
        if named is None:
            raise NotFound(
                "this daemon is no witness for that ledger",
                code="NO_SUCH_LEDGER",
                fix="name its public keys in ledger.witness_for",
            )
        before, kept = await self.reader.read(
            lambda c: (meta.get(c, _key(chain)), meta.get(c, _keys_key(chain)))
        )
        known = await anyio.to_thread.run_sync(_followed, named, kept, stated)
        keys_text = encode_lineage(known).decode("latin-1")
        last = None if before is None else _seen(before, known)
        if not note or since != (0 if last is None else last.size):
            return Countersigned(0 if last is None else last.size)
        checkpoint = _checked(note, known, last, proof)
        text = base64.b64encode(note).decode()
        body: dict[str, object] = {
            "principal": principal,
            "chain": chain,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "since": since,
        }

        def operation(tx: Tx) -> None:
            moved = meta.swap(tx.connection, _key(chain), before, text)
            if moved and known.rotations and keys_text != kept:
                moved = meta.swap(tx.connection, _keys_key(chain), kept, keys_text)
            if not moved:
                raise Conflict(
                    "another checkpoint of that ledger was countersigned meanwhile",
                    code="STORE_CONFLICT",
                    fix="ask again",
                )
            tx.receipt("ledger.countersigned", body, principal=principal)

        await self.writer.write(operation)
        seconds = self.clock.now_ms() // 1000
        made = await anyio.to_thread.run_sync(cosign, checkpoint, self.keys.signing, seconds)
        return Countersigned(checkpoint.size, _note(checkpoint, made))


def _checked(
    note: bytes, keys: Lineage, last: Checkpoint | None, proof: Sequence[bytes]
) -> Checkpoint:
    if len(note) > MAX_NOTE:
        raise BadRequest("a note is too long", code="OVERSIZE", fix="send one checkpoint")
    try:
        checkpoint = parse_checkpoint(note, keys)
        if last is not None:
            check_advance(last, checkpoint, proof)
    except CheckpointError as error:
        raise Conflict(error.message, code=error.code, fix=error.fix) from None
    except LedgerError as error:
        raise BadRequest(error.message, code=error.code, fix=error.fix) from None
    return checkpoint


def _seen(text: str, keys: Lineage) -> Checkpoint:
    """What was countersigned last, verified again: the database is not signed."""
    try:
        return parse_checkpoint(base64.b64decode(text), keys)
    except (LedgerError, ValueError):
        raise Conflict(
            "what was countersigned last is not kept as it was",
            code="FORKED",
            fix="find out who wrote to the witness's database",
        ) from None


def _followed(named: Lineage, kept: str | None, stated: bytes) -> Lineage:
    """The keys that the operator named, those followed before, and those stated now."""
    try:
        if kept is not None:
            named = named.extended(parse_lineage(kept.encode("latin-1")))
        return named.extended(parse_lineage(stated)) if stated else named
    except (KeyFileError, RotationError) as error:
        raise Conflict(error.message, code=error.code, fix=error.fix) from None


def _note(checkpoint: Checkpoint, signatures: list[NoteSignature]) -> bytes:
    return format_note(checkpoint.text, signatures)


def _key(chain: str) -> str:
    return f"witness.{chain}"


def _keys_key(chain: str) -> str:
    return f"witness.keys.{chain}"


def _load(path: Path) -> Lineage:
    try:
        with path.open("rb") as file:
            return parse_lineage(file.read(MAX_LINEAGE + 1))
    except OSError as error:
        why = error.strerror or type(error).__name__
    except (KeyFileError, RotationError) as error:
        why = error.message
    raise StartError(
        f"{path}, named in ledger.witness_for, is not the public keys of a ledger: {why}",
        code="WITNESS_KEYS_UNUSABLE",
        fix="`stockade ledger keys` of that ledger prints them",
    )
