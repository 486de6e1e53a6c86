"""The daemon's store on a disk, in this process: the database, its writer and the chain's keys."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from bench.daemon import make_directory
from daemon.clock import Clock
from daemon.store.engine import open_engine
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger import keys
from ledger.keys import SigningKeys

CHAIN = "bench"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a measure of the store works with."""

    directory: Path
    engine: Engine
    reader: Reader
    writer: Writer
    keys: SigningKeys


@asynccontextmanager
async def stored() -> AsyncIterator[Stored]:
    """A new database, removed at the end."""
    directory, signing = make_directory(), keys.generate(CHAIN)
    engine = open_engine(directory / "stockade.db")
    try:
        signer = signing.signer()
        async with Writer(engine, CHAIN, signer, now_ms=Clock().now_ms) as writer:
            yield Stored(directory, engine, Reader(engine), writer, signing)
    finally:
        engine.dispose()
        shutil.rmtree(directory, ignore_errors=True)
