"""The writer: durable, in order, nothing lost, nothing half done, neighbours unharmed."""

import asyncio
import gc
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from daemon.store import engine as database
from daemon.store import meta, receipts
from daemon.store.commit import Tx
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.reader import Reader
from ledger.chain import Entry
from ledger.errors import ReceiptError
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.specimen import CHAIN, note, noted, verified, writer

pytestmark = pytest.mark.anyio


class RefusalError(Exception):
    pass


def put(key: str) -> Any:
    def operation(tx: Tx) -> str:
        assert meta.swap(tx.connection, key, None, "1")
        note(key)(tx)
        return key

    return operation


def failing(key: str, error: BaseException) -> Any:
    """An operation that stores a row and a receipt, and then raises."""

    def operation(tx: Tx) -> None:
        put(key)(tx)
        raise error

    return operation


class Gate:
    """Holds the writer's thread inside an operation, so that what follows shares a batch."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, _tx: Tx) -> None:
        self.entered.set()
        assert self.leave.wait(90)

    async def hold(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 90)


def keys(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT key FROM meta")).scalars().all()
    return {key for key in found if not key.startswith("ledger.")}


async def test_a_write_that_returned_is_stored(engine: Engine) -> None:
    """What `write` returned is in the database for any other connection, row and receipt."""
    async with writer(engine) as store:
        assert await store.write(put("a")) == "a"
        assert keys(engine) == {"a"}
        assert noted(engine) == ["a"]
        assert store.head is not None
        assert store.head.sequence == 1


async def test_order_is_the_order_of_submission(engine: Engine) -> None:
    """What was submitted first is recorded first, over many batches and many tasks."""
    names = [f"n{number:04}" for number in range(300)]
    async with writer(engine, batch=7) as store:
        results = await asyncio.gather(*(store.write(note(name)) for name in names))
    assert results == list(range(1, 301))
    assert noted(engine) == names


async def test_many_writes_share_a_commit(engine: Engine) -> None:
    """What waits while a commit is under way goes into one transaction: one fsync for all."""
    commits = []
    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        futures = [store.submit(note(str(number))) for number in range(50)]
        real = receipts.add

        def counting(*arguments: Any, **named: Any) -> None:
            commits.append(len(arguments[2]))
            real(*arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receipts, "add", counting)
            gate.leave.set()
            await asyncio.gather(held, *futures)
    assert commits == [50]


async def test_a_caller_waits_for_its_own_receipts_alone(engine: Engine) -> None:
    """It has its answer, and they are on disk, while what was submitted after them still waits."""
    gate, first = Gate(), Gate()
    async with writer(engine) as store:
        held = store.submit(first)
        await first.hold()
        own = store.submit(note("own"))
        first.leave.set()
        later: list[asyncio.Future[Any]] = []
        own.add_done_callback(lambda _: later.append(store.submit(gate)))
        await held
        assert await own == 1
        await gate.hold()
        later.append(store.submit(note("later")))
        assert noted(engine) == ["own"]
        assert not later[-1].done()
        gate.leave.set()
        await asyncio.gather(*later)
    assert noted(engine) == ["own", "later"]


async def test_two_submitted_and_awaited_once(engine: Engine) -> None:
    """A caller may queue two operations and wait for both at once."""
    async with writer(engine) as store:
        both = await asyncio.gather(store.submit(note("a")), store.submit(note("b")))
        assert list(both) == [1, 2]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_done_meanwhile_is_done_before_the_answer(
    engine: Engine, *, fails: bool
) -> None:
    """On the loop, once the operation has run and the disk is at work; also if that failed."""
    seen: list[str] = []

    def operation(_tx: Tx) -> None:
        seen.append("ran")
        if fails:
            raise ValueError("no")

    async with writer(engine) as store:
        loop = asyncio.get_running_loop()

        def meanwhile() -> None:
            seen.append("meanwhile" if asyncio.get_running_loop() is loop else "elsewhere")

        written = store.submit(operation, meanwhile)
        written.add_done_callback(lambda _: seen.append("answered"))
        await asyncio.wait([written])
        assert isinstance(written.exception(), ValueError) == fails
    assert seen == ["ran", "meanwhile", "answered"]


@pytest.mark.parametrize("place", [0, 5, 9])
async def test_a_failing_operation_fails_alone(engine: Engine, place: int) -> None:
    """An operation that raises is undone, row and receipt; its batch neighbours are stored."""
    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        futures = [
            store.submit(failing(f"k{n}", RefusalError()) if n == place else put(f"k{n}"))
            for n in range(10)
        ]
        gate.leave.set()
        results = await asyncio.gather(held, *futures, return_exceptions=True)
    good = [f"k{n}" for n in range(10) if n != place]
    assert isinstance(results[place + 1], RefusalError)
    assert keys(engine) == set(good)
    assert noted(engine) == good


async def test_a_broken_constraint_fails_alone(engine: Engine) -> None:
    """A statement the database refuses is the operation's fault, not the store's."""

    def twice(tx: Tx) -> None:
        for _ in range(2):
            tx.connection.execute(text("INSERT INTO meta VALUES ('x', '1')"))

    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        futures = [store.submit(put("a")), store.submit(twice), store.submit(put("b"))]
        gate.leave.set()
        _, _, conflict, _ = await asyncio.gather(held, *futures, return_exceptions=True)
    assert isinstance(conflict, StoreFault)
    assert conflict.code == "STORE_CONFLICT"
    assert keys(engine) == {"a", "b"}


async def test_an_operation_runs_once(engine: Engine) -> None:
    """A neighbour's failure does not make an operation run again."""
    runs: list[str] = []

    def counted(tx: Tx) -> None:
        runs.append("run")
        note("counted")(tx)

    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        futures = [store.submit(counted), store.submit(failing("x", RefusalError()))]
        gate.leave.set()
        await asyncio.gather(held, *futures, return_exceptions=True)
    assert runs == ["run"]


@pytest.mark.parametrize("error", [StopIteration(), KeyError("x"), SystemExit(1)])
async def test_whatever_is_raised_is_answered(engine: Engine, error: BaseException) -> None:
    """No exception leaves a caller waiting for ever, or ends the thread."""
    async with writer(engine) as store:
        future = store.submit(failing("x", error))
        await asyncio.wait([future], timeout=90)
        raised = future.exception()
        assert raised is error or isinstance(raised, RuntimeError)
        assert await store.write(put("a")) == "a"
    assert noted(engine) == ["a"]


async def test_a_cancelled_caller_loses_nothing(engine: Engine) -> None:
    """Cancelling who waits stops the waiting; the operation is stored, whole, in its place."""
    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        tasks = [asyncio.create_task(store.write(put(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        future = store.submit(put("d"))
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        gate.leave.set()
        await asyncio.gather(held, tasks[0], tasks[2])
    assert noted(engine) == ["a", "b", "c", "d"]
    assert keys(engine) == {"a", "b", "c", "d"}


async def test_a_cancelled_caller_leaves_no_unseen_error(engine: Engine) -> None:
    """An operation that fails after its caller was cancelled is not reported as a lost error."""
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))
    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        task = asyncio.create_task(store.write(failing("x", RefusalError())))
        await asyncio.sleep(0)
        task.cancel()
        gate.leave.set()
        await held
        assert await store.write(put("a")) == "a"
        del task
    gc.collect()
    assert seen == []


async def test_leaving_stores_what_was_submitted(engine: Engine) -> None:
    """Closing drains: what was accepted is durable, also if the closing task is cancelled."""
    gate = Gate()
    futures = []

    async def run() -> None:
        async with writer(engine, batch=3) as store:
            futures.append(store.submit(gate))
            await gate.hold()
            futures.extend(store.submit(put(f"k{number}")) for number in range(10))

    task = asyncio.create_task(run())
    await gate.hold()
    await asyncio.sleep(0.01)
    task.cancel()
    gate.leave.set()
    await asyncio.wait([task], timeout=90)
    assert all(future.done() and not future.exception() for future in futures)
    assert noted(engine) == [f"k{number}" for number in range(10)]


async def test_a_closed_writer_takes_nothing(engine: Engine) -> None:
    """After closing, a write is refused rather than queued for nobody."""
    store = writer(engine)
    async with store:
        pass
    with pytest.raises(StoreFault) as caught:
        await store.write(put("a"))
    assert caught.value.code == "STORE_CLOSED"


async def test_the_queue_is_bounded(engine: Engine) -> None:
    """More than the queue holds is refused at once; room is found again when it has drained."""
    gate = Gate()
    async with writer(engine, capacity=3) as store:
        futures = [store.submit(gate)]
        await gate.hold()
        futures += [store.submit(put(name)) for name in "ab"]
        with pytest.raises(StoreFault) as caught:
            store.submit(put("c"))
        assert caught.value.code == "STORE_BUSY"
        gate.leave.set()
        await asyncio.gather(*futures)
        assert await store.write(put("d")) == "d"
    assert noted(engine) == ["a", "b", "d"]


async def test_the_ledger_goes_on_after_a_restart(engines: EngineFactory) -> None:
    """The chain does not restart with the process: a second run continues the first."""
    for name in "abc":
        async with writer(engines()) as store:
            await store.write(note(name))
    engine = engines()
    assert noted(engine) == ["a", "b", "c"]
    assert verified(engine).count == 3


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM receipts WHERE sequence = 3",
        "DELETE FROM receipts",
        "DELETE FROM meta",
        "UPDATE receipts SET digest = zeroblob(32) WHERE sequence = 3",
        "UPDATE receipts SET digest = 'short' WHERE sequence = 3",
        "UPDATE receipts SET time = 'yesterday' WHERE sequence = 3",
        "UPDATE receipts SET chain = 'test-2' WHERE sequence = 3",
    ],
)
async def test_a_tail_that_was_cut_off_is_found(
    engines: EngineFactory, path: Path, damage: str
) -> None:
    """A ledger that does not end where it ended is not continued."""
    async with writer(engines()) as store:
        for name in "abc":
            await store.write(note(name))
    other = sqlite3.connect(path)
    other.execute(damage)
    other.commit()
    other.close()
    with pytest.raises(StoreFault) as caught:
        async with writer(engines()):
            pass
    assert caught.value.code == "STORE_CORRUPT"


async def test_a_second_daemon_on_one_chain_is_refused(engines: EngineFactory) -> None:
    """Two processes that append to one chain do not fork it: the second to write is refused."""
    async with writer(engines()) as first, writer(engines()) as second:
        await first.write(put("a"))
        for _ in range(2):
            with pytest.raises(StoreFault) as caught:
                await second.write(put("b"))
            assert caught.value.code == "STORE_CORRUPT"
        await first.write(put("c"))
    assert noted(engines()) == ["a", "c"]
    assert keys(engines()) == {"a", "c"}


async def test_a_fault_of_the_store_takes_the_batch_and_passes(
    engines: EngineFactory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store faults every write gets the fault; afterwards the chain goes on unbroken."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    engine = engines()
    async with writer(engine) as store:
        await store.write(put("a"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(
            *(store.write(put(name)) for name in "bcd"), return_exceptions=True
        )
        other.close()
        assert [getattr(result, "code", result) for result in results] == ["STORE_BUSY"] * 3
        assert len({id(result) for result in results}) == 3
        assert store.head is not None
        assert store.head.sequence == 1
        await store.write(put("e"))
    assert noted(engine) == ["a", "e"]
    assert keys(engine) == {"a", "e"}


async def test_a_commit_that_fails_is_undone(engine: Engine) -> None:
    """A commit that one operation breaks takes back that one, and stores its neighbours."""

    def break_commit(tx: Tx) -> None:
        put("b")(tx)
        tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        tx.connection.exec_driver_sql("INSERT INTO device_groups VALUES ('nobody', 'x')")

    gate = Gate()
    async with writer(engine) as store:
        held = store.submit(gate)
        await gate.hold()
        futures = [store.submit(put("a")), store.submit(break_commit), store.submit(put("c"))]
        gate.leave.set()
        _, _, broken, _ = await asyncio.gather(held, *futures, return_exceptions=True)
        assert isinstance(broken, StoreFault)
        assert broken.code == "STORE_CONFLICT"
        await store.write(put("d"))
    assert keys(engine) == {"a", "c", "d"}
    assert noted(engine) == ["a", "c", "d"]


async def test_a_swallowed_fault_still_fails_the_batch(engine: Engine) -> None:
    """SQLite may have rolled back by itself: an operation cannot carry on as if it had not."""

    def swallowing(tx: Tx) -> None:
        put("x")(tx)
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreFault) as caught:
            tx.connection.exec_driver_sql("INSERT INTO meta VALUES ('big', hex(zeroblob(1000000)))")
        assert caught.value.code == "STORE_FULL"
        meta.swap(tx.connection, "after", None, "1")

    async with writer(engine) as store:
        with pytest.raises(StoreFault) as caught:
            await store.write(swallowing)
        assert caught.value.code == "STORE_FULL"
        assert store.head is None
        await store.write(put("a"))
    assert keys(engine) == {"a"}
    assert noted(engine) == ["a"]


async def test_a_commit_reported_lost_that_was_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that reached the disk although it reported an error is one, and no fork."""
    real, lied = database._commit, list[Connection]()

    def lying(connection: Connection) -> None:
        monkeypatch.undo()
        real(connection)
        lied.append(connection)
        raise StoreFault("STORE_IO", "the disk did not answer")

    async with writer(engine) as store:
        await store.write(put("a"))
        monkeypatch.setattr(database, "_commit", lying)
        results = await asyncio.gather(
            store.write(put("b")),
            store.write(failing("x", RefusalError())),
            return_exceptions=True,
        )
        assert lied
        assert store.fault is None
        await store.write(put("c"))
    assert results[0] == "b"
    assert isinstance(results[1], RefusalError)
    assert noted(engine) == ["a", "b", "c"]


async def test_a_commit_that_did_fail_is_none(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that reported an error and is not there after it is a fault, and can be tried again."""

    def silent(_connection: Connection) -> None:
        monkeypatch.undo()
        raise StoreFault("STORE_IO", "the disk did not answer")

    async with writer(engine) as store:
        await store.write(put("a"))
        monkeypatch.setattr(database, "_commit", silent)
        with pytest.raises(StoreFault, match="did not answer"):
            await store.write(put("b"))
        await store.write(put("b"))
    assert noted(engine) == ["a", "b"]


async def test_history_changed_behind_the_daemon_is_refused(engine: Engine, path: Path) -> None:
    """After a fault, a ledger that is neither as before nor as intended is not taken up."""
    async with writer(engine) as store:
        for name in "abc":
            await store.write(note(name))

        other = sqlite3.connect(path)
        other.execute("DELETE FROM receipts WHERE sequence = 3")
        other.execute(
            "UPDATE meta SET value = (SELECT sequence || ' ' || lower(hex(digest)) FROM receipts"
            " WHERE sequence = 2) WHERE key = ?",
            (f"ledger.head.{CHAIN}",),
        )
        other.commit()
        other.close()
        for _ in range(2):
            with pytest.raises(StoreFault) as caught:
                await store.write(note("e"))
            assert caught.value.code == "STORE_CORRUPT"


async def test_a_receipt_after_the_operation_is_refused(engine: Engine) -> None:
    """A transaction kept beyond its operation cannot append to the chain."""
    kept: list[Tx] = []
    async with writer(engine) as store:
        await store.write(kept.append)
        with pytest.raises(RuntimeError, match="over"):
            kept[0].receipt("test.noted", {})
        await store.write(note("a"))
    assert noted(engine) == ["a"]


async def test_a_refused_receipt_fails_the_operation(engine: Engine) -> None:
    """What cannot be recorded (a float in a receipt) is not done either."""

    def unrecordable(tx: Tx) -> None:
        meta.swap(tx.connection, "x", None, "1")
        tx.receipt("test.noted", {"ratio": 0.5})

    async with writer(engine) as store:
        with pytest.raises(ReceiptError, match="float"):
            await store.write(unrecordable)
        await store.write(put("a"))
    assert keys(engine) == {"a"}
    assert noted(engine) == ["a"]


async def test_a_watcher_with_a_defect_keeps_no_receipt_from_another(engine: Engine) -> None:
    """Each is told by itself; what one raises is the event loop's to tell."""
    told, raised = list[Entry](), list[str]()

    def broken(_: object) -> None:
        raise RuntimeError("a defect")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: raised.append(str(what["exception"])))
    async with writer(engine) as store:
        store.watch(broken)
        store.watch(told.extend)
        await store.write(note("a"))
    assert ([one.kind for one in told], raised) == (["test.noted"], ["a defect"])


async def test_reads_do_not_wait_for_the_writer(engine: Engine) -> None:
    """While an operation holds the writer, reads go on, and see only what is committed."""
    gate = Gate()

    def holding(tx: Tx) -> None:
        put("b")(tx)
        gate(tx)

    reader = Reader(engine)
    async with writer(engine) as store:
        await store.write(put("a"))
        held = store.submit(holding)
        await gate.hold()
        read = reader.read(lambda c: (meta.get(c, "a"), meta.get(c, "b")))
        assert await asyncio.wait_for(read, 60) == ("1", None)
        gate.leave.set()
        await held
        assert await reader.read(lambda c: meta.get(c, "b")) == "1"


async def test_a_read_cannot_write(engine: Engine) -> None:
    """A function given to `read` that tries to write is refused by the database."""
    with pytest.raises(StoreFault) as caught:
        await Reader(engine).read(lambda c: meta.swap(c, "a", None, "1"))
    assert caught.value.code == "STORE_READ_ONLY"
    # The writer may get the very connection that met the fault.
    async with writer(engine) as store:
        assert await store.write(put("a")) == "a"


async def test_writing_beside_the_writer_keeps_the_chain(engine: Engine) -> None:
    """Another connection that writes other rows does not disturb the ledger."""
    async with writer(engine) as store:
        await store.write(put("a"))
        with writing(engine).begin() as connection:
            meta.swap(connection, "other", None, "1")
        await store.write(put("b"))
    assert keys(engine) == {"a", "b", "other"}
