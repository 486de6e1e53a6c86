"""What the daemon stands on, for serving and for initialising alike: database, ledger, clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio.to_thread

from daemon.clock import Clock
from daemon.config import Config
from daemon.estate import Estate
from daemon.store.engine import open_engine
from daemon.store.reader import Reader
from daemon.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Foundation:
    """What everything else stands on."""

    estate: Estate
    config: Config
    clock: Clock
    reader: Reader
    writer: Writer


@asynccontextmanager
async def foundation(estate: Estate, config: Config) -> AsyncIterator[Foundation]:
    """The database, its writer and the clock."""
    clock = Clock()
    engine = await anyio.to_thread.run_sync(open_engine, estate.home.data / "stockade.db")
    try:
        signer = estate.signing_keys.signer()
        async with Writer(engine, estate.chain_id, signer, now_ms=clock.now_ms) as writer:
            yield Foundation(estate, config, clock, Reader(engine), writer)
    finally:
        engine.dispose()
