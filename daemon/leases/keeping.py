"""Leases given, revoked, expired and void: each recorded with its receipt.

Trusted so that an end holds in memory at once and in the database for good: what could not be
recorded is tried again, and is presented to no call meanwhile. A start believes no row: what its
signer's key did not sign, what the ledger does not say was given, or says has ended, or whose uses
it counts otherwise, is void. Raises the daemon's faults.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from daemon.clock import Clock
from daemon.errors import Conflict, Fault, NotFound
from daemon.identity.devices import Devices
from daemon.leases.book import PARENT_ENDED, LeaseBook, Whose, name_of
from daemon.leases.record import TOLD, USED, bears_out, kind_of
from daemon.leases.signers import signers_of
from daemon.store import leases, receipts
from daemon.store.commit import Tx
from daemon.store.ids import LeaseId
from daemon.store.leases import LeaseRow, LeaseState
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.ticks import tick
from ledger.chain import Entry
from ledger.keys import Keys
from stockade.lease import LeaseError, parse_lease

_log = structlog.get_logger("stockade.leases")

TICK_SECONDS = 0.5
DAMAGED = "LEASE_DAMAGED"
_WAYS = "`stockade leases list` shows them"


@dataclass(frozen=True, slots=True)
class LeaseKeeper:
    """See the module."""

    book: LeaseBook
    devices: Devices
    reader: Reader
    writer: Writer
    clock: Clock
    keys: Keys
    # Ends the calls that run by a lease.
    cancel: Callable[[str], None]

    async def load(self, *, set_back: bool) -> None:
        """Takes over what the database holds and the ledger bears out."""
        for row in await self.reader.read(leases.active):
            if set_back:
                reason = "CLOCK_SET_BACK"
            elif row.parent_id is not None and self.book.get(str(row.parent_id)) is None:
                reason = PARENT_ENDED  # a lease is older than what was narrowed from it
            else:
                reason = await self._flaw(row)
            if reason:
                _log.warning("lease.void", lease=row.lease_id, reason=reason)
                await self._end(row, LeaseState.VOID, reason, "stockaded")
            else:
                self.book.put(row)

    async def revoke(self, lease_id: str, principal: str, *, running: bool) -> Entry:
        """Ends a lease now; with `running`, also the calls that run by it."""
        row = await self.get(lease_id)
        if row.state is not LeaseState.ACTIVE:
            raise Conflict(f"this lease is {row.state}", code="LEASE_ENDED", fix=_WAYS)
        narrowed = [str(one.row.lease_id) for one in self.book.narrowed(lease_id)]
        entry = await self._end(row, LeaseState.REVOKED, "REVOKED", principal)
        self.book.withdraw(lease_id)
        for one in (lease_id, *narrowed) if running else ():
            self.cancel(one)
        await self._end_unrecorded()
        return entry

    async def get(self, lease_id: str) -> LeaseRow:
        """A lease, ended or not."""
        row = await self.reader.read(lambda c: leases.get(c, LeaseId(lease_id)))
        if row is None:
            raise NotFound("there is no such lease", code="UNKNOWN_LEASE", fix=_WAYS)
        return row

    def void(self, whose: Whose) -> None:
        """Those who had or gave them are gone: at once in memory, soon in the database."""
        for known in self.book:
            if whose(known.row):
                self.book.withdraw(known.terms.lease_id, unrecorded="PRINCIPAL_GONE")

    async def keep(self) -> None:
        """Records the ends that come by themselves, for as long as the daemon runs."""
        while True:
            await tick(TICK_SECONDS)
            try:
                await self._end_due()
            except Fault as fault:
                _log.error("leases.not_ended", reason=fault.code)

    async def _end_due(self) -> None:
        now = self.clock.now_ms()
        for known in self.book:
            used_up = known.uses >= known.terms.uses
            if used_up or now >= known.terms.expires_ms:
                state = LeaseState.USED_UP if used_up else LeaseState.EXPIRED
                row = replace(known.row, uses=known.uses)
                with suppress(Conflict):  # by another hand: here it ends all the same
                    await self._end(row, state, state.upper(), "stockaded")
                self.book.forget(known.terms.lease_id)
        await self._end_unrecorded()

    async def _end_unrecorded(self) -> None:
        for lease_id, reason in sorted(self.book.unrecorded.items()):
            with suppress(Conflict, NotFound):  # somebody else was faster, or took the row away
                row = await self.get(lease_id)
                if row.state is LeaseState.ACTIVE:
                    await self._end(row, LeaseState.VOID, reason, "stockaded")
            self.book.unrecorded.pop(lease_id, None)

    async def _flaw(self, row: LeaseRow) -> str:
        """Why a stored lease does not stand; nothing if it does."""
        chain, name = self.keys.chain, name_of(str(row.lease_id))
        recorded = await self.reader.read(lambda c: receipts.named(c, chain, name, TOLD))
        try:
            genuine = self.book.is_genuine(row) and bears_out(row, recorded, self.keys)
        except LeaseError:
            genuine = False
        told = await self.reader.read(lambda c: receipts.count(c, chain, name, USED))
        stored = await self.reader.read(lambda c: leases.uses(c, row.lease_id))
        if not genuine or not told == stored == row.uses:
            return DAMAGED
        caller = self.devices.of_call(row.principal, str(row.device_id), "")
        signers = [self.devices.as_principal(one.device_id, "") for one in signers_of(row)]
        return "" if None not in (caller, *signers) else "PRINCIPAL_GONE"

    async def _end(self, row: LeaseRow, state: LeaseState, reason: str, by: str) -> Entry:
        now, lease_id = self.clock.now_ms(), row.lease_id

        def operation(tx: Tx) -> Entry:
            if not leases.end(tx.connection, lease_id, state, reason, now_ms=now):
                raise Conflict("this lease has ended", code="LEASE_ENDED", fix=_WAYS)
            body = {
                "lease": str(lease_id),
                "principal": by,
                "reason": reason,
                "terms_digest": _digest(row),
                "uses": row.uses,
            }
            return tx.receipt(kind_of(state), body, principal=name_of(str(lease_id)))

        return await self.writer.write(operation)


def _digest(row: LeaseRow) -> str:
    try:
        return parse_lease(row.terms).digest()
    except LeaseError:
        return ""
