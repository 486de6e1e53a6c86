"""One transaction of many operations, with the receipts they leave.

Trusted to make a whole batch durable at once, in the order it came, and to keep the ledger's chain
in step with the database: an operation that raises is undone and nothing else, its receipts are
taken back from the chain, and its neighbours stay; a fault of the store undoes the whole batch.

After a fault the connection is thrown away, and the chain is taken up again from what the database
says. That is either the head before the failed batch or the one after it (a commit that reported
an error may still have reached the disk); any other head is another history: STORE_CORRUPT. Where
it is the one after, and the log can be written into the database, the batch is durable, and is
reported as what it is: else whoever waits for it would wait for what has happened.

Not safe between threads: one thread owns a Committer. Leaves: StoreFault from `open`; `commit`
raises nothing, every operation has an outcome.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, Engine

from daemon.store import engine as database
from daemon.store import receipts
from daemon.store.faults import StoreFault
from daemon.store.ids import CallId
from ledger.chain import Chain, Entry, Head, Signer, Signers
from ledger.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Ledger:
    """What receipts are made with."""

    chain_id: str
    signer: Signer
    now_ms: Callable[[], int]
    receipt_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Done:
    """The operation's result; it is durable."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """Why nothing of the operation was stored."""

    error: BaseException


class Tx:
    """What an operation works with, only while it runs.

    The connection is inside a transaction that is not the operation's to end. Receipts go into the
    database together, after the last operation of the batch: an operation cannot read its own.
    """

    __slots__ = ("_batch", "connection", "permitted_under")

    def __init__(self, connection: Connection, batch: "_Batch") -> None:
        self.connection: Final = connection
        self._batch: _Batch | None = batch
        # The policy digest that its receipts have, unless they have another of their own.
        self.permitted_under = ""

    def receipt(
        self,
        kind: str,
        body: Mapping[str, object],
        *,
        call_id: CallId | None = None,
        principal: str | None = None,
    ) -> Entry:
        """Append a receipt, signed. It must not leave the process before the write has returned."""
        return self._open().append(kind, self._with_digest(body), call_id, principal)

    def hand_over(
        self,
        kind: str,
        body: Mapping[str, object],
        *,
        seal: Callable[[Receipt], Receipt],
        signer: Signer,
        principal: str,
    ) -> Entry:
        """Append a receipt that `seal` completes, after which another signs."""
        return self._open().hand_over(kind, self._with_digest(body), seal, signer, principal)

    def end(self) -> None:
        """The operation is over; it gets nothing more recorded."""
        self._batch = None

    def _with_digest(self, body: Mapping[str, object]) -> Mapping[str, object]:
        return {"policy_digest": self.permitted_under, **body} if self.permitted_under else body

    def _open(self) -> "_Batch":
        if self._batch is None:
            raise RuntimeError("the operation is over: its receipt would be in no transaction")
        return self._batch


Operation = Callable[[Tx], Any]


class _Stamp(TypedDict):
    """What each receipt gets that its operation does not choose."""

    receipt_id: str
    now_ms: int


class _Batch:
    """The operations of one transaction, and the receipts they have left so far."""

    def __init__(self, connection: Connection, chain: Chain, ledger: Ledger) -> None:
        self._connection = connection
        self._chain = chain
        self._ledger = ledger
        self._before = chain.head
        self._rows: list[receipts.ReceiptRow] = []
        self._kept = False  # something that an operation did

    @property
    def entries(self) -> list[Entry]:
        """The receipts so far."""
        return [row.entry for row in self._rows]

    def append(
        self, kind: str, body: Mapping[str, object], call_id: CallId | None, principal: str | None
    ) -> Entry:
        entry = self._chain.append(kind, body, **self._stamp())
        return self._keep(entry, call_id, principal)

    def hand_over(
        self,
        kind: str,
        body: Mapping[str, object],
        seal: Callable[[Receipt], Receipt],
        signer: Signer,
        principal: str,
    ) -> Entry:
        entry = self._chain.hand_over(kind, body, seal, signer, **self._stamp())
        return self._keep(entry, None, principal)

    def _stamp(self) -> _Stamp:
        return {"receipt_id": self._ledger.receipt_id(), "now_ms": self._ledger.now_ms()}

    def _keep(self, entry: Entry, call_id: CallId | None, principal: str | None) -> Entry:
        self._rows.append(receipts.ReceiptRow(self._ledger.chain_id, entry, call_id, principal))
        return entry

    def attempt(self, operation: Operation) -> Done | Failed:
        """Run one operation; if it raises, nothing of it stays. Raises what blames the store."""
        head, count = self._chain.head, len(self._rows)
        tx = Tx(self._connection, self)
        # Mostly there is one, and before the first there is nothing to keep.
        first = not self._kept
        if not first:
            database.savepoint(self._connection)
        try:
            value = operation(tx)
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
            self._raise_fault()
            (database.begin_again if first else database.undo)(self._connection)
            self._chain.rewind(head)
            del self._rows[count:]
            return Failed(error)
        finally:
            tx.end()
        self._raise_fault()
        if not first:
            database.keep(self._connection)
        self._kept = True
        return Done(value)

    def record(self) -> None:
        """Put the receipts of all operations into the database."""
        head = self._chain.head
        if self._rows and head is not None:
            receipts.add(
                self._connection, self._ledger.chain_id, self._rows, after=self._before, to=head
            )

    def _raise_fault(self) -> None:
        """Also if the operation swallowed it: SQLite may have rolled everything back already."""
        fault = database.met_fault(self._connection)
        if fault is not None:
            raise fault


class Committer:
    """The connection that writes, and the chain it appends to."""

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self._engine = database.writing(engine)
        self._ledger = ledger
        self._signers = Signers(ledger.signer)
        self._connection: Connection | None = None
        self._chain: Chain | None = None
        self._possible: tuple[Head | None, ...] | None = None
        # Of the batch whose commit was last tried: durable if the database ends where it does.
        self._unsure: tuple[Head | None, list[Done | Failed], list[Entry]] | None = None
        self._recorded: list[Entry] = []

    @property
    def head(self) -> Head | None:
        """The last durable entry of the chain."""
        return None if self._chain is None else self._chain.head

    def take_recorded(self) -> list[Entry]:
        """The receipts that became durable since this was asked last."""
        recorded, self._recorded = self._recorded, []
        return recorded

    def open(self) -> None:
        """Connect, and take up the chain where the database says it ends."""
        self._ready()

    def close(self) -> None:
        """Disconnect; nothing is pending."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def commit(
        self, operations: Sequence[Operation], on_its_way: Callable[[], None] = lambda: None
    ) -> list[Done | Failed]:
        """Run the operations in order and make them durable together.

        `on_its_way` is called, and must not raise, when all that is left is for the disk to do.
        """
        try:
            return self._commit(operations, on_its_way)
        except StoreFault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever this was
            fault = StoreFault(
                "STORE_IO",
                f"the transaction failed: {type(error).__name__}",
                "see the daemon's log, and whether the disk of the data directory is well",
            )
            fault.__cause__ = error
        self._discard()
        unsure, self._unsure = self._unsure, None
        if unsure is not None and not fault.blames_operation and self._ends_at(unsure[0]):
            self._recorded += unsure[2]
            return unsure[1]
        if fault.blames_operation and len(operations) > 1:
            # A constraint that is checked at the commit: one of them broke it, and only it fails.
            return [self.commit([operation])[0] for operation in operations]
        return [Failed(_copy(fault)) for _ in operations]

    def _commit(
        self, operations: Sequence[Operation], on_its_way: Callable[[], None]
    ) -> list[Done | Failed]:
        connection, chain = self._ready()
        before = chain.head
        batch = _Batch(connection, chain, self._ledger)
        try:
            with database.transaction(connection):
                outcomes = [batch.attempt(operation) for operation in operations]
                batch.record()
                # Without a receipt there is nothing to know it by afterwards.
                entries = batch.entries
                self._unsure = (chain.head, outcomes, entries) if chain.head != before else None
                on_its_way()
        except BaseException:
            self._possible = (before, chain.head)
            # Who signs next is known once it is known where the database ends.
            self._signers = self._signers.copy()
            chain.rewind(before)
            raise
        self._unsure = None
        self._recorded += entries
        return outcomes

    def _ends_at(self, head: Head | None) -> bool:
        """Whether the database, opened again, ends there; then all up to it is on the disk."""
        try:
            connection, chain = self._ready()
            return chain.head == head and database.sync(connection)
        except Exception:  # noqa: BLE001 - what cannot be found out is not so
            self._discard()
            return False

    def _ready(self) -> tuple[Connection, Chain]:
        if self._connection is None or self._chain is None:
            connection = self._engine.connect()
            try:
                with connection.begin():
                    head = receipts.head(connection, self._ledger.chain_id)
                if self._possible is not None and head not in self._possible:
                    raise StoreFault(
                        "STORE_CORRUPT",
                        "the ledger was changed behind the daemon",
                        "find out by whom; restore the data directory from a backup",
                    )
                self._chain = Chain(self._ledger.chain_id, self._signers, head)
            except BaseException:
                _drop(connection)
                raise
            self._connection = connection
        return self._connection, self._chain

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _drop(connection)


def _drop(connection: Connection) -> None:
    # The driver's connection must not return to the pool; closing it can fail like anything else.
    with suppress(Exception):
        connection.invalidate()
    with suppress(Exception):
        connection.close()


def _copy(fault: StoreFault) -> StoreFault:
    copy = fault.again()
    copy.__cause__ = fault
    return copy
