"""Being a witness for other ledgers: countersign what only adds to what was seen before.

Trusted to sign for a ledger whose keys the operator named, and only a checkpoint that both of its
keys signed and that is proved to follow the last one countersigned here. What was seen is in the
database, moves by compare-and-swap, and leaves a receipt in this daemon's own ledger: so the
witness is held to its word by its own checkpoints. Raises `NotFound` (NO_SUCH_LEDGER), `Conflict`
(ROLLED_BACK, FORKED), `BadRequest`, StartError for key files, and StoreFault.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio.to_thread

from daemon.clock import Clock
from daemon.errors import BadRequest, Conflict, NotFound, StartError
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger.checkpoint import Checkpoint, check_advance, parse_checkpoint
from ledger.cosign import cosign
from ledger.errors import CheckpointError, KeyFileError, LedgerError
from ledger.keys import MAX_KEY_FILE, PublicKeys, SigningKeys, parse_public
from ledger.note import MAX_NOTE, NoteSignature, format_note


@dataclass(frozen=True, slots=True)
class Countersigned:
    """What the witness has seen of a ledger, and its signatures where it has just signed."""

    size: int
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Witness:
    """See the module."""

    keys: SigningKeys
    ledgers: dict[str, PublicKeys]
    reader: Reader
    writer: Writer
    clock: Clock

    @classmethod
    def over(
        cls, paths: Sequence[str], keys: SigningKeys, reader: Reader, writer: Writer, clock: Clock
    ) -> Self:
        """With the keys in these files."""
        found = [_load(Path(path)) for path in paths]
        return cls(keys, {one.chain: one for one in found}, reader, writer, clock)

    async def countersign(
        self, chain: str, note: bytes, since: int, proof: Sequence[bytes], principal: str
    ) -> Countersigned:
        """Sign for a checkpoint that follows; without one, or with a proof from elsewhere, ask."""
        known = self.ledgers.get(chain)
        if known is None:
            raise NotFound(
                "this daemon is no witness for that ledger",
                code="NO_SUCH_LEDGER",
                fix="name its public keys in ledger.witness_for",
            )
        before = await self.reader.read(lambda c: meta.get(c, _key(chain)))
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
            if not meta.swap(tx.connection, _key(chain), before, text):
                raise Conflict(
                    "another checkpoint of that ledger was countersigned meanwhile",
                    code="STORE_CONFLICT",
                    fix="ask again",
                )
            tx.receipt("ledger.countersigned", body, principal=principal)

        await self.writer.write(operation)
        seconds = self.clock.now_ms() // 1000
        made = await anyio.to_thread.run_sync(cosign, checkpoint, self.keys, seconds)
        return Countersigned(checkpoint.size, _note(checkpoint, made))


def _checked(
    note: bytes, keys: PublicKeys, last: Checkpoint | None, proof: Sequence[bytes]
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


def _seen(text: str, keys: PublicKeys) -> Checkpoint:
    """What was countersigned last, verified again: the database is not signed."""
    try:
        return parse_checkpoint(base64.b64decode(text), keys)
    except (LedgerError, ValueError):
        raise Conflict(
            "what was countersigned last is not kept as it was",
            code="FORKED",
            fix="find out who wrote to the witness's database",
        ) from None


def _note(checkpoint: Checkpoint, signatures: list[NoteSignature]) -> bytes:
    return format_note(checkpoint.text, signatures)


def _key(chain: str) -> str:
    return f"witness.{chain}"


def _load(path: Path) -> PublicKeys:
    try:
        with path.open("rb") as file:
            return parse_public(file.read(MAX_KEY_FILE + 1))
    except OSError as error:
        why = error.strerror or type(error).__name__
    except KeyFileError as error:
        why = error.message
    raise StartError(
        f"{path}, named in ledger.witness_for, is not the public keys of a ledger: {why}",
        code="WITNESS_KEYS_UNUSABLE",
        fix="`stockade ledger keys` of that ledger prints them",
    )
