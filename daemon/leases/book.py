"""The leases that stand now, found by whose and for what they are.

Memory is a copy: a use counts in the database, in the transaction of the permit it is for. Trusted
to present a lease only for calls of exactly its caller, tool and policy; that what is revoked here
is presented to no call from that moment on; and that nothing stands which its signer's key did not
sign. Raises `LeaseLapsedError` to whoever wants a use that is not there any more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from daemon.calls.judge import Candidate
from daemon.calls.signatures import Signatures
from daemon.calls.standing import Standing
from daemon.clock import Clock
from daemon.devices import Devices
from daemon.leases.meaning import facts_of, permits_of
from daemon.leases.record import USED
from daemon.store import leases
from daemon.store.commit import Tx
from daemon.store.ids import CallId, LeaseId
from daemon.store.leases import LeaseRow
from daemon.tools.registry import Tool
from daemon.world import World
from ledger.chain import Entry
from policy.lease import LeaseRefusedError, Permit
from policy.values import EntityUid
from stockade.lease import LeaseTerms, lease_bytes, parse_lease


class LeaseLapsedError(Exception):
    """There is no use of this lease left."""


@dataclass(slots=True)
class KnownLease:
    """A lease that stands."""

    row: LeaseRow
    terms: LeaseTerms
    # As far as it is known here; the database may know of more.
    uses: int
    permits: tuple[Permit, ...] | None = None


_CallKey = tuple[str, str, str]
"""Principal, tool, digest of the tool."""


def _key(terms: LeaseTerms) -> _CallKey:
    return terms.principal, terms.tool, terms.tool_digest


class LeaseBook:
    """See the module."""

    def __init__(self, devices: Devices, signatures: Signatures, clock: Clock) -> None:
        self._devices = devices
        self._signatures = signatures
        self._clock = clock
        self._known: dict[str, KnownLease] = {}
        # The same by whose and for what they are: a call looks at its own alone.
        self._by_call: dict[_CallKey, dict[str, KnownLease]] = {}
        self._withdrawn: set[str] = set()
        # Withdrawn, and that is not in the database yet.
        self.unrecorded: set[str] = set()

    def __iter__(self) -> Iterator[KnownLease]:
        """All that stand."""
        return iter(list(self._known.values()))

    def put(self, row: LeaseRow) -> None:
        """A lease that is stored stands from now on."""
        lease_id, terms = str(row.lease_id), parse_lease(row.terms)
        known = self._known[lease_id] = KnownLease(row, terms, row.uses)
        self._by_call.setdefault(_key(terms), {})[lease_id] = known

    def withdraw(self, lease_id: str, *, recorded: bool = True) -> None:
        """Presents it to no call any more, and lets none start by it."""
        self.forget(lease_id)
        self._withdrawn.add(lease_id)
        if not recorded:
            self.unrecorded.add(lease_id)

    def forget(self, lease_id: str) -> None:
        """It has ended by itself: what it permitted until now is permitted."""
        known = self._known.pop(lease_id, None)
        if known is not None:
            key = _key(known.terms)
            self._by_call[key].pop(lease_id, None)
            if not self._by_call[key]:
                del self._by_call[key]

    def holds(self, lease_id: str) -> bool:
        """Whether a call that it permitted may still start."""
        return lease_id not in self._withdrawn

    def is_genuine(self, row: LeaseRow) -> bool:
        """Whether the row is what its signer signed."""
        message, signer = lease_bytes(row.terms), str(row.signer)
        if not self._signatures.by_device(signer, row.certificate, row.signature, message):
            return False
        terms = parse_lease(row.terms)
        signed = (terms.lease_id, terms.approval_id, terms.principal, terms.uses, terms.expires_ms)
        stored = (str(row.lease_id), str(row.approval_id), row.principal, row.max_uses)
        return signed == (*stored, row.expires_ms)

    def standing(self, world: World, candidate: Candidate) -> tuple[Standing, ...]:
        """The leases that may stand in for asking about this call, those that end first first."""
        principal = candidate.principal
        return self.standing_for(world, str(principal), world.subjects(principal), candidate.tool)

    def standing_for(
        self, world: World, principal: str, subjects: Sequence[EntityUid], tool: Tool
    ) -> tuple[Standing, ...]:
        """The same for a call that nobody makes."""
        now = self._clock.now_ms()
        its_own = self._by_call.get((principal, tool.name, str(tool.digest)))
        if not its_own:
            return ()
        found = [
            one
            for one in its_own.values()
            if one.terms.policy_digest in ("", world.digest)
            and one.uses < one.terms.uses
            and now < one.terms.expires_ms
        ]
        found.sort(key=lambda one: (one.terms.expires_ms, one.terms.lease_id))
        presented = (self._present(world, subjects, one) for one in found)
        return tuple(one for one in presented if one is not None)

    def taken_by(self, world: World, candidate: Candidate, lease_id: str) -> tuple[Standing, ...]:
        """The lease that a call has a use of already, if it still stands."""
        known = self._known.get(lease_id)
        if known is None:
            return ()
        presented = self._present(world, world.subjects(candidate.principal), known)
        return () if presented is None else (presented,)

    def _present(
        self, world: World, subjects: Sequence[EntityUid], known: KnownLease
    ) -> Standing | None:
        signer = self._devices.as_principal(str(known.row.signer), "")
        if signer is None:
            return None
        if known.permits is None:
            try:
                terms, schema = known.terms, world.bundle.schema
                known.permits = permits_of(subjects, terms, world.translations[terms.tool], schema)
            except LeaseRefusedError:
                return None
        return Standing(
            lease_id=known.terms.lease_id,
            terms_digest=known.terms.digest(),
            permits=known.permits,
            facts=facts_of(known.terms, known.row.created_ms),
            signer=world.principal_uid(signer),
            signer_groups=world.groups(signer.groups),
        )

    def take(self, tx: Tx, lease_id: str, call_id: str) -> Entry:
        """Takes a use for a call, inside the transaction that permits it; the receipt of it."""
        known, now = self._known.get(lease_id), self._clock.now_ms()
        if known is None:
            raise LeaseLapsedError
        taken = leases.use(tx.connection, LeaseId(lease_id), CallId(call_id), now_ms=now)
        # A count that is below what is known here was set back by another hand.
        if taken is None or taken[0] <= known.uses or taken[1] != known.terms.uses:
            raise LeaseLapsedError
        body = {
            "lease": lease_id,
            "terms_digest": known.terms.digest(),
            "call": call_id,
            "number": taken[0],
            "of": taken[1],
        }
        return tx.receipt(USED, body, call_id=CallId(call_id), principal=name_of(lease_id))

    def taken(self, lease_id: str) -> None:
        """A use that was taken is durable."""
        known = self._known.get(lease_id)
        if known is not None:
            known.uses += 1


def name_of(lease_id: str) -> str:
    """What its receipts are found by."""
    return f"lease/{lease_id}"


Whose = Callable[[LeaseRow], bool]
