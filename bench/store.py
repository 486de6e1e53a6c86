"""The daemon's store on a disk, in this process: the database, its writer and the chain's keys."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from bench.daemon import make_directory
from bench.filling import CHAIN, fill
from daemon.clock import Clock
from daemon.store import meta
from daemon.store.engine import open_engine, writing
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger import keys
from ledger.keys import SigningKeys


@dataclass(frozen=True, slots=True)
class Stored:
    """What a measure of the store works with."""

    directory: Path
    engine: Engine
    reader: Reader
    writer: Writer
    keys: SigningKeys


@asynccontextmanager
async def stored(length: int = 0, *, signed: bool = False) -> AsyncIterator[Stored]:
    """A new database with a ledger of a length, removed at the end; `signed`: one that verifies."""
    directory, signing = make_directory(), keys.generate(CHAIN)
    engine = open_engine(directory / "stockade.db")
    try:
        if signed:
            fill(engine, signing.signer(), length)
        elif length:
            _fill(engine, length)
        signer = signing.signer()
        async with Writer(engine, CHAIN, signer, now_ms=Clock().now_ms) as writer:
            yield Stored(directory, engine, Reader(engine), writer, signing)
    finally:
        engine.dispose()
        shutil.rmtree(directory, ignore_errors=True)


# Rows as a ledger has them, in size and in every index; nobody signed them.
_FILLER = """
WITH RECURSIVE n(i) AS (SELECT :start UNION ALL SELECT i + 1 FROM n WHERE i < :end)
INSERT INTO receipts (chain, sequence, receipt_id, kind, time, call_id, principal, canonical,
                      digest, signature)
SELECT 'bench', i, printf('01900000-0000-7000-8000-%012x', i), 'call.received',
       '2026-01-01T00:00:00.000Z', printf('01900000-0000-7000-9000-%012x', i / 4),
       'device/' || (i % 50), zeroblob(300), :digest, zeroblob(64) FROM n
"""
_STEP = 500_000
_DIGEST = b"\x01" * 32


def _fill(engine: Engine, length: int) -> None:
    for start in range(1, length + 1, _STEP):
        with writing(engine).begin() as connection:
            end = min(start + _STEP - 1, length)
            values = {"start": start, "end": end, "digest": _DIGEST}
            connection.execute(text(_FILLER), values)
    with writing(engine).begin() as connection:
        meta.swap(connection, f"ledger.head.{CHAIN}", None, f"{length} {_DIGEST.hex()}")
