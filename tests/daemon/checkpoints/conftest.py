"""A ledger on a disk, its checkpoints, and places that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from daemon.ledger.checkpoint_places import Place, PlaceError
from daemon.ledger.checkpoints import Checkpoints, Rhythm
from daemon.ledger.keys import LedgerKeys
from daemon.store.engine import open_engine
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger.lineage import Lineage
from tests.daemon.store import specimen

OFTEN = Rhythm(seconds=0, receipts=1)


@dataclass
class Shelf:
    """A place in memory; `fault` is what it answers with while it is set."""

    name: str = "shelf"
    fault: str = ""
    notes: list[bytes] = field(default_factory=list)

    def deliver(self, note: bytes) -> None:
        if self.fault:
            raise PlaceError(self.fault)
        self.notes.append(note)


@dataclass
class Book:
    """A chain that is written, and its checkpoints."""

    writer: Writer
    checkpoints: Checkpoints

    async def note(self, count: int) -> None:
        await asyncio.gather(*(self.writer.submit(specimen.note(str(n))) for n in range(count)))


Opened = Callable[..., AbstractAsyncContextManager[Book]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "stockade.db"


@pytest.fixture
def engine(database: Path) -> Iterator[Engine]:
    made = open_engine(database)
    yield made
    made.dispose()


@pytest.fixture
def opened(engine: Engine) -> Opened:
    @asynccontextmanager
    async def make(*places: Place, rhythm: Rhythm = OFTEN, **options: Any) -> AsyncIterator[Book]:
        async with specimen.writer(engine) as writer:
            checkpoints = Checkpoints(
                LedgerKeys(specimen.KEYS, Lineage(specimen.PUBLIC)),
                Reader(engine),
                writer,
                specimen.clock(),
                rhythm=rhythm,
                places=places,
                **options,
            )
            await checkpoints.check_start()
            yield Book(writer, checkpoints)

    return make
