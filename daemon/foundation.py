"""What the daemon stands on, for serving and for initialising alike: database, ledger, clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio.to_thread

from daemon.clock import Clock
from daemon.config import Config
from daemon.estate import Estate
from daemon.identity.authorities import Authorities
from daemon.identity.authority_files import META_KEY, Files, Standing
from daemon.identity.authority_keys import AuthorityKeys
from daemon.ledger.checkpoint_places import places_of
from daemon.ledger.checkpoints import Checkpoints, Rhythm
from daemon.ledger.key_files import LedgerKeyFiles
from daemon.ledger.keys import LedgerKeys
from daemon.ledger.rotation import LedgerRotation
from daemon.ledger.witness import Witness
from daemon.store import meta
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
    authorities: Authorities
    authority_files: Files
    ledger_keys: LedgerKeys
    ledger_rotation: LedgerRotation
    checkpoints: Checkpoints
    witness: Witness


@asynccontextmanager
async def foundation(estate: Estate, config: Config) -> AsyncIterator[Foundation]:
    """The database, its writer and the clock."""
    clock = Clock()
    engine = await anyio.to_thread.run_sync(open_engine, estate.home.data / "stockade.db")
    try:
        reader, tokens = Reader(engine), AuthorityKeys(config.authority)
        in_token = config.ledger.key == "token"
        key_files = LedgerKeyFiles(estate.home.data, tokens, in_token)
        keys = await LedgerKeys.open(key_files, estate.chain_id, reader)
        signer = keys.signing.signer()
        async with Writer(engine, estate.chain_id, signer, now_ms=clock.now_ms) as writer:
            checkpoints = _checkpoints(keys, config, reader, writer, clock)
            # Before anything is added to it.
            await checkpoints.check_start()
            key_files.write_public(keys.lineage)
            files = Files(estate.home.data, tokens)
            authorities = await _authorities(files, reader, clock)
            yield Foundation(
                estate=estate,
                config=config,
                clock=clock,
                reader=reader,
                writer=writer,
                authorities=authorities,
                authority_files=files,
                ledger_keys=keys,
                ledger_rotation=LedgerRotation(keys, key_files, reader, writer, checkpoints),
                checkpoints=checkpoints,
                witness=Witness.over(config.ledger.witness_for, keys, reader, writer, clock),
            )
    finally:
        engine.dispose()


def _checkpoints(
    keys: LedgerKeys, config: Config, reader: Reader, writer: Writer, clock: Clock
) -> Checkpoints:
    rhythm = config.ledger
    return Checkpoints(
        keys,
        reader,
        writer,
        clock.now_ms,
        rhythm=Rhythm(rhythm.checkpoint_seconds, rhythm.checkpoint_receipts),
        places=places_of(rhythm, keys),
    )


async def _authorities(files: Files, reader: Reader, clock: Clock) -> Authorities:
    stored = Standing.decode(await reader.read(lambda c: meta.get(c, META_KEY)))
    state = await anyio.to_thread.run_sync(files.open, stored)
    return Authorities(state, clock.now_ms)
