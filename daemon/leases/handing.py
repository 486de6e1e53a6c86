"""Whether a lease may be handed to an agent: narrowed by its holder, in everything.

Trusted that what comes of it reaches nowhere further than the lease it comes from: it has that
one's limits besides its own, its uses are that one's uses, it ends with it, and it is the approver
of that one whose yes is asked about at every use. Only the holder hands it, to an agent of its own.
Raises the daemon's faults.
"""

from dataclasses import dataclass

from daemon.calls.signatures import verifies
from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound
from daemon.identity.devices import Devices
from daemon.leases.book import KnownLease, LeaseBook
from daemon.leases.granting import UUID7, bad
from daemon.leases.meaning import permits_of
from daemon.leases.record import new_row
from daemon.leases.signed import AGAIN, store
from daemon.principal import Principal
from daemon.store import leases
from daemon.store.commit import Tx
from daemon.store.ids import LeaseId
from daemon.store.leases import LeaseRow
from daemon.store.writer import Writer
from daemon.worlds import Worlds
from policy.lease import LeaseRefusedError
from stockade.lease import LeaseError, LeaseTerms, lease_bytes, parse_lease, widening

MAX_NARROWED = 64


@dataclass(frozen=True, slots=True)
class Handing:
    """See the module."""

    book: LeaseBook
    worlds: Worlds
    devices: Devices
    writer: Writer
    clock: Clock

    async def hand(self, principal: Principal, encoded: bytes, signature: bytes) -> LeaseRow:
        """Stores the narrowed lease, which stands from now on."""
        try:
            terms = parse_lease(encoded)
        except LeaseError as error:
            raise bad(str(error)) from None
        parent = self._parent(principal, terms)
        self._check(principal, terms, parent)
        if not verifies(principal.certificate, signature, lease_bytes(encoded)):
            raise BadRequest(
                "the lease is not signed by this device's key", code="BAD_SIGNATURE", fix=AGAIN
            )
        row = new_row(
            terms,
            encoded,
            principal,
            signature,
            self.clock.now_ms(),
            device_id=principal.device_id,
            parent_id=parent.row.lease_id,
        )
        await self.writer.write(lambda tx: _store(tx, row, parent.row.lease_id))
        if self.book.get(str(row.parent_id)) is not None:
            self.book.put(row)
        else:  # it ended meanwhile
            self.book.drop(row)
        return row

    def _parent(self, principal: Principal, terms: LeaseTerms) -> KnownLease:
        """The lease that it is narrowed from; of others' leases nobody learns anything."""
        for known in self.book:
            if known.terms.principal == str(principal) and known.terms.digest() == terms.parent:
                return known
        raise NotFound(
            "you have no such lease that stands",
            code="UNKNOWN_LEASE",
            fix="`stockade leases list` shows them",
        )

    def _check(self, principal: Principal, terms: LeaseTerms, parent: KnownLease) -> None:
        kind, _, agent_id = terms.principal.partition("/")
        agent = self.devices.agents.get(agent_id) if kind == "agent" else None
        if agent is None or not agent.active or agent.row.device_id != principal.device_id:
            raise bad("a lease is handed to an agent of its holder's")
        if wider := widening(terms, parent.terms, parent.terms.uses - parent.uses):
            raise bad(f"it would be wider than the lease it comes from: {wider}")
        if not UUID7.fullmatch(terms.lease_id) or self.clock.now_ms() >= terms.expires_ms:
            raise bad("its id is not a UUIDv7, or it has ended already")
        world = self.worlds.current
        tool = world.registry.get(terms.tool)
        receiver = self.devices.of_call(terms.principal, principal.device_id, "")
        if receiver is None or tool is None or tool.digest != terms.tool_digest:
            raise bad("its tool is gone, or another by now")
        try:
            permits_of(
                world.subjects(receiver),
                terms,
                world.translations[terms.tool],
                world.bundle.schema,
                parent.terms,
            )
        except LeaseRefusedError as refused:
            raise bad(refused.message) from None


def _store(tx: Tx, row: LeaseRow, parent_id: LeaseId) -> None:
    """In one transaction with the count: of two that race for the last place one has it."""
    if leases.narrowed(tx.connection, parent_id) >= MAX_NARROWED:
        raise bad(f"{MAX_NARROWED} leases were narrowed from that one and stand")
    store(tx, row, {})
