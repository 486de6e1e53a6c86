"""Checkpoints are made by time and count, and only of a ledger that follows the last one."""

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, update

from daemon.errors import StartError
from daemon.ledger.checkpoints import CheckpointFault, Rhythm
from daemon.store import tree
from daemon.store.engine import writing
from daemon.store.tables import checkpoints, receipts, tree_nodes
from ledger.checkpoint import parse_checkpoint
from ledger.merkle import verify_consistency, verify_inclusion
from ledger.verify import verify
from tests.daemon.checkpoints.conftest import Book, Opened, Shelf
from tests.daemon.store.specimen import CHAIN, PUBLIC, exported

PATIENCE = 90
pytestmark = pytest.mark.anyio


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.05)


async def until_signed(book: Book, size: int) -> None:
    await until(lambda: (row := book.checkpoints.latest) is not None and row.size >= size)


async def test_a_checkpoint_vouches_for_what_is_exported(opened: Opened, engine: Engine) -> None:
    """Both signatures verify, and the offline verifier finds the same root."""
    async with opened() as book:
        await book.note(600)
        row = await book.checkpoints.take()
    signed = parse_checkpoint(row.note, PUBLIC)
    assert (signed.size, row.size) == (600, 600)
    assert verify(exported(engine), PUBLIC, signed).covered == 600


async def test_nothing_new_is_nothing_to_sign(opened: Opened) -> None:
    """The same ledger has the same checkpoint, not another signature each time."""
    async with opened() as book:
        await book.note(3)
        assert await book.checkpoints.take() is await book.checkpoints.take()


@pytest.mark.parametrize("rhythm", [Rhythm(3600, 5), Rhythm(0, 10**9)], ids=["count", "time"])
async def test_checkpoints_are_made_by_count_and_by_time(opened: Opened, rhythm: Rhythm) -> None:
    """Whichever comes first; nobody has to ask."""
    shelf = Shelf()
    async with opened(shelf, rhythm=rhythm) as book, anyio.create_task_group() as group:
        group.start_soon(book.checkpoints.keep)
        await book.note(1)
        await until_signed(book, 1)  # the first receipt of all has no checkpoint to wait for
        await book.note(5)
        await until_signed(book, 6)
        with anyio.fail_after(PATIENCE):
            await book.checkpoints.deliveries[0].until(6)
        group.cancel_scope.cancel()
    assert parse_checkpoint(shelf.notes[-1], PUBLIC).size == 6


async def test_too_few_and_too_soon_is_not_due(opened: Opened) -> None:
    """Between two checkpoints there are so many receipts, or so much time."""
    async with opened(rhythm=Rhythm(3600, 5)) as book:
        await book.note(1)
        await book.checkpoints.take()
        await book.note(4)
        assert not book.checkpoints._is_due()
        await book.note(1)
        assert book.checkpoints._is_due()


async def test_a_place_that_was_away_gets_the_newest(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again; the others are not held up, and the fault is there to be shown."""
    monkeypatch.setattr("daemon.ledger.checkpoint_delivery.RETRY_SECONDS", (0.05,))
    away, well = Shelf("away", fault="nobody there"), Shelf("well")
    async with opened(away, well) as book, anyio.create_task_group() as group:
        group.start_soon(book.checkpoints.keep)
        first, second = book.checkpoints.deliveries
        await book.note(1)
        with anyio.fail_after(PATIENCE):
            await second.until(1)
        await until(lambda: first.fault is not None and first.fault.message == "nobody there")
        await book.note(1)
        with anyio.fail_after(PATIENCE):
            await second.until(2)
        away.fault = ""
        with anyio.fail_after(PATIENCE):
            await first.until(2)
        await until(lambda: first.fault is None)
        group.cancel_scope.cancel()
    assert [parse_checkpoint(note, PUBLIC).size for note in away.notes] == [2]


async def test_the_end_has_its_checkpoint(opened: Opened) -> None:
    """What was recorded last is vouched for, and handed on, before the daemon is gone."""
    shelf = Shelf()
    rare = Rhythm(3600, 10**6)
    async with opened(shelf, rhythm=rare) as book, anyio.create_task_group() as group:
        group.start_soon(book.checkpoints.keep)
        await book.note(7)
        await book.checkpoints.end()
        group.cancel_scope.cancel()
    assert parse_checkpoint(shelf.notes[-1], PUBLIC).size == 7


def edit(engine: Engine, sequence: int) -> None:
    """A receipt's digest, changed by somebody with the database."""
    with writing(engine).begin() as connection:
        connection.execute(
            update(receipts).where(receipts.c.sequence == sequence).values(digest=bytes(32))
        )


async def test_an_edited_past_gets_no_signature(opened: Opened, engine: Engine) -> None:
    """A receipt that was changed under the daemon after it was vouched for: nothing is signed."""
    async with opened() as book:
        await book.note(20)
        await book.checkpoints.take()
        edit(engine, 5)
        await book.note(1)
        with pytest.raises(CheckpointFault, match="does not follow"):
            await book.checkpoints.take()
        assert book.checkpoints.state.startswith("LEDGER_FORKED")
        with pytest.raises(CheckpointFault):
            await book.checkpoints.take()


async def test_an_edited_past_is_not_continued(opened: Opened, engine: Engine) -> None:
    """The same, found at the start."""
    async with opened() as book:
        await book.note(20)
        await book.checkpoints.take()
    edit(engine, 12)
    with pytest.raises(StartError, match="not the ones") as refused:
        async with opened():
            pass
    assert refused.value.code == "LEDGER_FORKED"


async def test_an_edited_tree_is_noticed(opened: Opened, engine: Engine) -> None:
    """A kept node is not believed: another in its place does not pass."""
    async with opened() as book:
        await book.note(300)
        await book.checkpoints.take()
        with writing(engine).begin() as connection:
            connection.execute(update(tree_nodes).values(hash=bytes(32)))
        await book.note(1)
        with pytest.raises(CheckpointFault):
            await book.checkpoints.take()


async def test_a_stored_checkpoint_is_not_believed(opened: Opened, engine: Engine) -> None:
    """The row is no authority: a note without both signatures stops the start."""
    async with opened() as book:
        await book.note(4)
        note = (await book.checkpoints.take()).note
    stripped = b"".join(note.splitlines(keepends=True)[:-1])  # ML-DSA-65 gone
    with writing(engine).begin() as connection:
        connection.execute(update(checkpoints).values(note=stripped))
    with pytest.raises(StartError) as refused:
        async with opened():
            pass
    assert refused.value.code == "LEDGER_FORKED"


async def test_the_tree_goes_on_over_a_restart(opened: Opened, engine: Engine) -> None:
    """What was kept is not made again; roots and proofs are those of the whole ledger."""
    for _ in range(3):
        async with opened() as book:
            await book.note(200)
            row = await book.checkpoints.take()
    with engine.connect() as connection:
        assert tree.kept(connection, CHAIN) == 512
    root = parse_checkpoint(row.note, PUBLIC).root
    async with opened() as book:
        whole = book.checkpoints.tree
        proof = await whole.consistency(321, 600)
        verify_consistency(321, await whole.root(321), 600, root, proof)
        with engine.connect() as connection:
            rows = list(tree.leaves(connection, CHAIN, 0, 600))
        wanted = [1, 256, 257, 512, 599, 600]
        for number, path in zip(wanted, await whole.inclusions(wanted, 600), strict=True):
            verify_inclusion(rows[number - 1], number - 1, 600, path, root)


async def test_a_missing_receipt_is_no_proof(opened: Opened, engine: Engine) -> None:
    """A receipt deleted beneath the tree: what needs it is refused, not made up."""
    async with opened() as book:
        await book.note(10)
        await book.checkpoints.take()
        with writing(engine).begin() as connection:
            connection.execute(delete(receipts).where(receipts.c.sequence == 4))
        await book.note(1)
        with pytest.raises(CheckpointFault):
            await book.checkpoints.take()


@given(st.integers(1, 40), st.integers(1, 12))
def test_so_many_checkpoints_are_kept(count: int, room: int) -> None:
    """The newest stay, whatever the number."""
    from sqlalchemy import create_engine

    from daemon.store.tables import metadata

    engine = create_engine("sqlite://")
    metadata.create_all(engine, tables=[checkpoints])
    with engine.begin() as connection:
        for size in range(1, count + 1):
            row = tree.CheckpointRow(CHAIN, size, b"note", size)
            assert tree.add_checkpoint(connection, row, room=room)
            assert not tree.add_checkpoint(connection, row, room=room)
        kept = connection.execute(checkpoints.select()).all()
        newest = tree.latest_checkpoint(connection, CHAIN)
    assert [row.size for row in kept] == list(range(max(1, count - room + 1), count + 1))
    assert newest is not None
    assert newest.size == count
    engine.dispose()
