"""Keys that were handed over by a write whose outcome was not learned."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from daemon.config import Authority
from daemon.errors import Conflict, Unavailable
from daemon.identity.authority_keys import AuthorityKeys
from daemon.ledger.checkpoints import Checkpoints
from daemon.ledger.key_files import LedgerKeyFiles
from daemon.ledger.keys import LedgerKeys
from daemon.ledger.rotation import LedgerRotation
from daemon.store import engine as database
from daemon.store.faults import StoreFault
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from identity.keyfile import write_private
from ledger.checkpoint import parse_checkpoint
from ledger.keys import encode_signing
from ledger.lineage import Lineage
from ledger.verify import verify
from tests.daemon.checkpoints.conftest import OFTEN
from tests.daemon.store import specimen


@dataclass(frozen=True)
class Side:
    """Keys as one part of the daemon knows them."""

    keys: LedgerKeys
    files: LedgerKeyFiles
    checkpoints: Checkpoints
    rotation: LedgerRotation

    @classmethod
    def over(cls, data: Path, engine: Engine, writer: Writer) -> "Side":
        keys = LedgerKeys(specimen.KEYS, Lineage(specimen.PUBLIC))
        files = LedgerKeyFiles(data, AuthorityKeys(Authority()))
        reader = Reader(engine)
        made = Checkpoints(keys, reader, writer, specimen.clock(), rhythm=OFTEN, places=())
        return cls(keys, files, made, LedgerRotation(keys, files, reader, writer, made))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_private(tmp_path / "ledger.key", encode_signing(specimen.KEYS))
    return tmp_path


@pytest.mark.anyio
async def test_keys_in_force_are_never_written_over(data: Path, engine: Engine) -> None:
    """Who does not know of a rotation signs no checkpoint and makes no keys: it learns of it."""
    async with specimen.writer(engine) as writer:
        knowing, stale = (Side.over(data, engine, writer) for _ in range(2))
        await writer.write(specimen.note("before"))
        await knowing.rotation.rotate("device/x")
        in_force = (data / "ledger.key").read_bytes()
        await writer.write(specimen.note("after"))
        with pytest.raises(Unavailable) as unsigned:
            await stale.checkpoints.take()
        assert unsigned.value.code == "LEDGER_KEYS_OTHER"
        with pytest.raises(Conflict):
            await stale.rotation.rotate("device/x")
        assert (data / "ledger.key").read_bytes() == in_force
        assert stale.keys.lineage == knowing.keys.lineage
        note = (await stale.checkpoints.take()).note
        assert parse_checkpoint(note, knowing.keys.lineage).size == 3
        await stale.rotation.rotate("device/x")
        found = verify(specimen.exported(engine), specimen.PUBLIC)
        assert found.keys == stale.keys.lineage
    reopened = await LedgerKeys.open(stale.files, specimen.CHAIN, Reader(engine))
    assert reopened.lineage == stale.keys.lineage
    assert reopened.signing.public() == stale.keys.lineage.current


@pytest.mark.anyio
async def test_an_operation_that_fails_beside_it_does_not_undo_it(
    data: Path, engine: Engine
) -> None:
    """Nor does one that fails hand over: what follows is signed by who signs."""
    async with specimen.writer(engine) as writer:
        side = Side.over(data, engine, writer)
        await side.rotation.rotate("device/x")
        await writer.write(specimen.note("after"))
        with pytest.raises(ZeroDivisionError):
            await writer.write(lambda tx: [tx.receipt("test.noted", {}), 1 // 0])
        await writer.write(specimen.note("later"))
        assert verify(specimen.exported(engine), specimen.PUBLIC).count == 3


@pytest.mark.anyio
@pytest.mark.parametrize("reached", [True, False])
async def test_who_signs_next_is_who_the_database_says(
    data: Path, engine: Engine, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that reported an error handed over if it reached the disk, and only then."""
    real, lied = database._commit, list[bool]()

    def lying(connection: Connection) -> None:
        monkeypatch.undo()
        lied.append(reached)
        if reached:
            real(connection)
        raise StoreFault("STORE_IO", "the disk did not answer")

    async with specimen.writer(engine) as writer:
        side = Side.over(data, engine, writer)
        await writer.write(specimen.note("before"))
        monkeypatch.setattr(database, "_commit", lying)
        if reached:
            await side.rotation.rotate("device/x")
        else:
            with pytest.raises(StoreFault):
                await side.rotation.rotate("device/x")
        assert lied == [reached]
        await writer.write(specimen.note("after"))
        found = verify(specimen.exported(engine), specimen.PUBLIC)
        assert [one.sequence for one in found.keys.rotations] == ([2] if reached else [])
        assert found.keys == side.keys.lineage
        await side.rotation.rotate("device/x")
    reopened = await LedgerKeys.open(side.files, specimen.CHAIN, Reader(engine))
    assert reopened.signing.public() == side.keys.lineage.current
