"""A lease that was signed with a yes: it stands if enough people have signed these very terms.

Trusted so that a lease comes into being only in the transaction that settles its approval, when
policy finds those who signed the identical bytes enough by themselves (`call_attended`); a yes once
is no signature. Until then it is an offer: stored with the answer, recorded, permitting nothing.
Each of the signatures is verified again, and each signer asked about by the policy of now. Raises
`Conflict`, which undoes the yes with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from daemon.calls.asked import Asked
from daemon.calls.hearing import Ruling
from daemon.calls.judge import judge, may_grant
from daemon.calls.live import LiveCall
from daemon.calls.settlement import Answer, Yes
from daemon.calls.signatures import Signatures
from daemon.calls.standing import Standing
from daemon.clock import Clock
from daemon.errors import Conflict
from daemon.leases.book import name_of
from daemon.leases.record import CREATED, OFFERED, new_row
from daemon.leases.signers import Signer, cosigned, signers_of
from daemon.store import leases
from daemon.store.commit import Tx
from daemon.store.leases import LeaseRow
from daemon.worlds import Worlds
from ledger.chain import Entry
from stockade.lease import LeaseTerms, lease_bytes, parse_lease

AGAIN = "give it again with `stockade approvals approve`"


@dataclass(frozen=True, slots=True)
class Signed:
    """See the module: the terms as one person signed them, and what policy said to that person."""

    worlds: Worlds
    clock: Clock
    signatures: Signatures
    answer: Answer
    live: LiveCall
    terms: LeaseTerms
    # As if this person alone gave it.
    standing: Standing
    asked: list[Asked]

    def __call__(self, tx: Tx, yeses: Sequence[Yes], *, settled: bool) -> LeaseRow | None:
        """See `Giving`: the lease, if with this signature it stands."""
        me = self.answer.principal.device_id
        others = [yes for yes in yeses if yes.approver.device_id != me]
        leased = [yes for yes in others if yes.given.lease_terms is not None]
        same = [yes for yes in leased if self._signed_too(yes)]
        enough = settled and self._enough(same)
        if not enough and any(one.given.lease_terms != self.answer.lease_terms for one in leased):
            raise Conflict(
                "somebody else has signed another lease with this approval",
                code="LEASE_DIFFERS",
                fix="sign that one with `stockade approvals approve ID --same-lease`, or say yes"
                " once",
            )
        if enough:
            return store(tx, self._row(same), self._said())
        if settled:
            raise useless("those who signed it are not enough for a lease")
        _record(tx, OFFERED, self._row(()), self._said())
        return None

    def _signed_too(self, yes: Yes) -> bool:
        """Whether this yes has the very same lease with it, and its person may give it now."""
        given = yes.given
        if given.lease_terms != self.answer.lease_terms or not isinstance(
            given.lease_signature, bytes
        ):
            return False
        message, device = lease_bytes(self.answer.lease_terms), str(given.device_id)
        if not self.signatures.by_device(device, given.certificate, given.lease_signature, message):
            return False
        return may_grant(
            self.worlds.current,
            self.live.judged,
            self.live.verdict,
            self.clock.now(),
            yes.approver,
            self.standing.facts,
            lambda question, decision: self.asked.append(Asked.of(question, decision)),
        ).allowed

    def _enough(self, same: Sequence[Yes]) -> bool:
        """Whether the lease would have permitted this very call by their word alone."""
        world = self.worlds.current
        people = [self.answer.principal, *(yes.approver for yes in same)]
        standing = replace(
            self.standing,
            signers=tuple(world.principal_uid(one) for one in people),
            signer_groups=world.groups(group for one in people for group in one.groups),
        )
        verdict = judge(world, self.live.judged, self.clock.now(), leases=[standing])
        return verdict.ruling is Ruling.PERMIT and verdict.lease == self.terms.lease_id

    def _row(self, same: Sequence[Yes]) -> LeaseRow:
        terms, by = self.terms, self.answer.principal
        return new_row(
            terms,
            self.answer.lease_terms,
            by,
            self.answer.lease_signature,
            self.clock.now_ms(),
            device_id=self.live.principal.device_id,
            cosigned=cosigned(list(_signatures(same))),
        )

    def _said(self) -> Mapping[str, object]:
        """Policy's yes to those who signed, as the receipt has it."""
        return {
            "questions": [one.to_json() for one in self.asked],
            "policy_digest": self.worlds.current.digest,
        }


def _signatures(yeses: Sequence[Yes]) -> Iterator[Signer]:
    for one in yeses:
        signature = one.given.lease_signature or b""
        yield Signer(one.approver.device_id, signature, one.given.certificate)


def store(tx: Tx, row: LeaseRow, asked: Mapping[str, object]) -> LeaseRow:
    """Stores a lease, with its receipt."""
    if not leases.create(tx.connection, row):
        raise Conflict("a lease has this id", code="LEASE_ID_TAKEN", fix=AGAIN)
    _record(tx, CREATED, row, asked)
    return row


def _record(tx: Tx, kind: str, row: LeaseRow, asked: Mapping[str, object]) -> Entry:
    terms = parse_lease(row.terms)
    first, *others = signers_of(row)
    body = {
        "lease": terms.lease_id,
        "terms_digest": terms.digest(),
        "approval": terms.approval_id,
        "for": terms.principal,
        "tool": terms.tool,
        "tool_digest": terms.tool_digest,
        "uses": terms.uses,
        "expires_ms": terms.expires_ms,
        "tied_to": terms.policy_digest,
        **first.to_json(),
        **({"cosigners": [one.to_json() for one in others]} if others else {}),
        **({"parent": str(row.parent_id)} if row.parent_id else {}),
        **asked,
    }
    return tx.receipt(kind, body, principal=name_of(terms.lease_id))


def useless(why: str) -> Conflict:
    """For a lease that changes nothing."""
    return Conflict(
        f"with this lease the call would still have waited: {why}",
        code="LEASE_USELESS",
        fix="answer once; `stockade policy show` has the policies",
    )
