"""The one thread that writes.

Trusted to return from `write` only when the operation is on disk, to run operations in the order
they were submitted, and to lose none: an awaiting task that is cancelled stops waiting, the
operation is still stored whole. Operations that arrive while a commit is on its way to the disk
share the next one.

An operation is a function of a Tx. It runs on the writer's thread, holding up every other write: it
computes and queries, and waits for nothing. If it raises, nothing of it is stored and its caller
gets the exception; its neighbours are not run again. If the store faults, every operation of that
batch gets StoreFault and nothing of any is stored. An operation must be written to be run more than
once (a caller tries again after a fault; a constraint that fails only at the commit has the batch
run again one by one): no effects but those on the database.

Leaves: StoreFault (STORE_BUSY: the queue is full; STORE_CLOSED), and what operations raise.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from daemon.permitted import permitted_under
from daemon.store.commit import Committer, Done, Failed, Ledger, Operation, Tx
from daemon.store.engine import scrub
from daemon.store.faults import StoreFault
from daemon.store.log_mover import LogMover
from ledger.chain import Entry, Head, Signer

T = TypeVar("T")

CAPACITY: Final = 16_384
"""Operations that may wait. Admission of calls is bounded far below: their ends must find room."""
BATCH: Final = 256
"""Operations to a transaction: beyond some hundred the fsync is no longer what costs."""


def _of_request(operation: Operation) -> Operation:
    """The operation, its receipts with the policy that the request being served is permitted by."""
    digest = permitted_under()
    if not digest:
        return operation

    def permitted(tx: Tx) -> Any:
        tx.permitted_under = digest
        return operation(tx)

    return permitted


class _Job(NamedTuple):
    operation: Operation
    future: asyncio.Future[Any]
    meanwhile: Callable[[], None] | None


class Writer:
    """An async context manager; `write` and `submit` belong to the loop that entered it."""

    def __init__(
        self,
        engine: Engine,
        chain_id: str,
        signer: Signer,
        *,
        now_ms: Callable[[], int],
        receipt_id: Callable[[], str] = lambda: str(uuid7()),
        capacity: int = CAPACITY,
        batch: int = BATCH,
    ) -> None:
        self._engine = engine
        self._committer = Committer(engine, Ledger(chain_id, signer, now_ms, receipt_id))
        self._mover = LogMover(engine)
        self._capacity = capacity
        self._batch = batch
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pending = 0
        self._open = False
        self._head: Head | None = None
        self._fault: StoreFault | None = None
        self._watchers: list[Callable[[Sequence[Entry]], None]] = []
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    @property
    def head(self) -> Head | None:
        """The last durable entry of the ledger, as of the last write that has returned."""
        return self._head

    @property
    def fault(self) -> StoreFault | None:
        """What kept the last batch from being stored; None while writing works."""
        return self._fault

    def watch(self, watcher: Callable[[Sequence[Entry]], None]) -> None:
        """Has receipts told to the watcher, on the event loop, when they are durable."""
        self._watchers.append(watcher)

    @property
    def pending(self) -> int:
        """Operations submitted and not yet answered."""
        return self._pending

    async def __aenter__(self) -> Self:
        """Start the thread; StoreFault if the database or its ledger cannot be taken up."""
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._thread.start()
        try:
            await _outlast(self._started)
        except BaseException:
            await self._end()
            raise
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more, store what was submitted, end the thread."""
        await self._end()

    async def write(self, operation: Callable[[Tx], T]) -> T:
        """Run the operation; returns when it is durable.

        A caller that is cancelled meanwhile does not learn the outcome; the operation has one.
        """
        return await self.submit(operation)

    async def scrub(self) -> bool:
        """Have nothing that was erased be left in the log of the database; False: try again."""
        return await anyio.to_thread.run_sync(scrub, self._engine)

    def submit(
        self, operation: Callable[[Tx], T], meanwhile: Callable[[], None] | None = None
    ) -> asyncio.Future[T]:
        """Queue the operation; the future is done when it is durable.

        Cancelling the future does not take the operation back. `meanwhile` is called on the loop
        while the disk is at work, if it comes to that: no sooner, for this thread and the loop's
        would hinder each other.
        """
        if not self._open:
            raise StoreFault(
                "STORE_CLOSED", "the store takes no more writes", "try again once it has restarted"
            )
        if self._pending >= self._capacity:
            raise StoreFault(
                "STORE_BUSY",
                f"{self._pending} writes are waiting for the disk",
                "send less at once; see whether the disk of the data directory is slow",
            )
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending += 1
        self._queue.put(_Job(_of_request(operation), future, meanwhile))
        return future

    async def _end(self) -> None:
        self._open = False
        self._queue.put(None)
        await _outlast(self._ended)

    def _run(self) -> None:
        """The thread."""
        more = True
        try:
            self._committer.open()
            self._head = self._committer.head
            self._mover.begin()
            self._call(_resolve, self._started, Done(None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the writer is entered
            self._call(_resolve, self._started, Failed(error))
            more = False
        while more:
            jobs, more = self._take()
            if jobs:
                operations = [job.operation for job in jobs]
                outcomes = self._committer.commit(operations, partial(self._on_its_way, jobs))
                recorded = self._committer.take_recorded()
                self._call(self._settle, jobs, outcomes, self._committer.head, recorded)
                self._mover.wrote(len(jobs))
        self._mover.end()
        with suppress(Exception):
            self._committer.close()
        self._call(_resolve, self._ended, Done(None))

    def _on_its_way(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.meanwhile is not None:
                self._call(job.meanwhile)

    def _take(self) -> tuple[list[_Job], bool]:
        """What is queued, up to a batch, waiting for the first; and whether more can come."""
        jobs: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._batch:
                return jobs, True
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # A loop that was closed without leaving the writer: there is nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _settle(
        self,
        jobs: list[_Job],
        outcomes: list[Done | Failed],
        head: Head | None,
        recorded: list[Entry],
    ) -> None:
        self._pending -= len(jobs)
        self._head = head
        self._fault = next((fault for fault in map(_store_fault, outcomes) if fault), None)
        for job, outcome in zip(jobs, outcomes, strict=True):
            _resolve(job.future, outcome)
        # After those who wait for what they wrote, who were put in line just now; and each by
        # itself, so that a defect of one keeps nothing from the others.
        for watcher in self._watchers:
            self._loop.call_soon(watcher, recorded)


def _store_fault(outcome: Done | Failed) -> StoreFault | None:
    error = outcome.error if isinstance(outcome, Failed) else None
    if isinstance(error, StoreFault) and not error.blames_operation:
        return error
    return None


def _resolve(future: asyncio.Future[Any], outcome: Done | Failed) -> None:
    if future.done():  # cancelled by whoever held it
        return
    if isinstance(outcome, Done):
        future.set_result(outcome.value)
    elif isinstance(outcome.error, StopIteration):  # a future refuses it, and would never be done
        failure = RuntimeError("the operation raised StopIteration")
        failure.__cause__ = outcome.error
        future.set_exception(failure)
    else:
        future.set_exception(outcome.error)


async def _outlast(future: asyncio.Future[None]) -> None:
    """Wait for what ends in bounded time, cancelled or not; then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # holds off scopes; a task's own cancel() gets through
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    future.result()
