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
from daemon.identity.devices import Devices
from daemon.leases.meaning import facts_of, permits_of
from daemon.leases.record import USED
from daemon.leases.signers import signers_of
from daemon.store import leases
from daemon.store.commit import Tx
from daemon.store.ids import CallId, LeaseId
from daemon.store.leases import LeaseRow
from daemon.tools.registry import Tool
from daemon.world import World
from ledger.chain import Entry
from policy.lease import LeaseRefusedError, Permit
from policy.values import EntityUid
from stockade.lease import LeaseTerms, lease_bytes, parse_lease, widening

PARENT_ENDED = "PARENT_ENDED"


class LeaseLapsedError(Exception):
    """There is no use of this lease left."""


@dataclass(slots=True)
class KnownLease:
    """A lease that stands."""

    row: LeaseRow
    terms: LeaseTerms
    # As far as it is known here; the database may know of more.
    uses: int
    # The lease that it was narrowed from, if it was handed on.
    parent: "KnownLease | None" = None
    permits: tuple[Permit, ...] | None = None

    @property
    def given(self) -> "KnownLease":
        """The lease that an approver gave: itself, or the one that it was narrowed from."""
        return self if self.parent is None else self.parent

    @property
    def spent(self) -> bool:
        """Whether no use is left, of it or of what it was narrowed from."""
        return any(one.uses >= one.terms.uses for one in (self, self.given))


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
        # Withdrawn, and that is not in the database yet: why.
        self.unrecorded: dict[str, str] = {}

    def __iter__(self) -> Iterator[KnownLease]:
        """All that stand."""
        return iter(list(self._known.values()))

    def put(self, row: LeaseRow) -> None:
        """A lease that is stored stands from now on."""
        lease_id, terms = str(row.lease_id), parse_lease(row.terms)
        parent = None if row.parent_id is None else self._known[str(row.parent_id)]
        known = self._known[lease_id] = KnownLease(row, terms, row.uses, parent)
        self._by_call.setdefault(_key(terms), {})[lease_id] = known

    def drop(self, row: LeaseRow) -> None:
        """One that is stored, and whose parent ended before it stood."""
        self._withdrawn.add(str(row.lease_id))
        self.unrecorded[str(row.lease_id)] = PARENT_ENDED

    def get(self, lease_id: str) -> KnownLease | None:
        """One that stands."""
        return self._known.get(lease_id)

    def narrowed(self, lease_id: str) -> list[KnownLease]:
        """Those that stand and were narrowed from this one."""
        return [one for one in self if one.row.parent_id == lease_id]

    def withdraw(self, lease_id: str, *, unrecorded: str = "") -> None:
        """Presents it to no call any more, and lets none start by it; nor by one narrowed from it.

        With a reason where that is not in the database yet.
        """
        for one in self.narrowed(lease_id):
            self.withdraw(one.terms.lease_id, unrecorded=PARENT_ENDED)
        self.forget(lease_id)
        self._withdrawn.add(lease_id)
        if unrecorded:
            self.unrecorded[lease_id] = unrecorded

    def forget(self, lease_id: str) -> None:
        """It has ended by itself: what it permitted until now is permitted.

        What was narrowed from it goes with it.
        """
        for one in self.narrowed(lease_id):
            self.forget(one.terms.lease_id)
            self.unrecorded[one.terms.lease_id] = PARENT_ENDED
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
        """Whether the row is what each of its signers signed."""
        message, signer = lease_bytes(row.terms), str(row.signer)
        for one in signers_of(row):
            if not self._signatures.by_device(
                one.device_id, one.certificate, one.signature, message
            ):
                return False
        terms = parse_lease(row.terms)
        signed = (terms.lease_id, terms.approval_id, terms.principal, terms.uses, terms.expires_ms)
        stored = (str(row.lease_id), str(row.approval_id), row.principal, row.max_uses)
        if signed != (*stored, row.expires_ms):
            return False
        if row.parent_id is None or terms.parent == "":
            return row.parent_id is None and terms.parent == ""
        if row.cosigned is not None:
            return False  # a part is handed by its holder alone
        parent = self._known.get(str(row.parent_id))
        return (
            parent is not None
            and parent.terms.principal == f"device/{signer}"
            and not widening(terms, parent.terms, parent.terms.uses)
        )

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
            and not one.spent
            and one.given.terms.policy_digest in ("", world.digest)
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
        given = known.given
        signers = signers_of(given.row)
        found = (self._devices.as_principal(one.device_id, "") for one in signers)
        people = [one for one in found if one is not None]
        if len(people) != len(signers):
            return None
        if known.permits is None:
            try:
                terms, schema = known.terms, world.bundle.schema
                known.permits = permits_of(
                    subjects,
                    terms,
                    world.translations[terms.tool],
                    schema,
                    None if known.parent is None else known.parent.terms,
                )
            except LeaseRefusedError:
                return None
        return Standing(
            lease_id=known.terms.lease_id,
            terms_digest=known.terms.digest(),
            permits=known.permits,
            # Who handed it on gave nothing: it is the approver's yes, as that was given.
            facts=facts_of(given.terms, given.row.created_ms),
            signers=tuple(world.principal_uid(one) for one in people),
            signer_groups=world.groups(group for one in people for group in one.groups),
            parent="" if known.parent is None else given.terms.lease_id,
        )

    def take(self, tx: Tx, lease_id: str, call_id: str) -> Entry:
        """Takes a use for a call, inside the transaction that permits it; the receipt of it."""
        known = self._known.get(lease_id)
        if known is None:
            raise LeaseLapsedError
        if known.parent is not None:
            self._take(tx, known.parent, call_id)
        return self._take(tx, known, call_id)

    def _take(self, tx: Tx, known: KnownLease, call_id: str) -> Entry:
        lease_id, now = known.terms.lease_id, self._clock.now_ms()
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
            if known.parent is not None:
                known.parent.uses += 1


def name_of(lease_id: str) -> str:
    """What its receipts are found by."""
    return f"lease/{lease_id}"


Whose = Callable[[LeaseRow], bool]
