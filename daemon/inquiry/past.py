"""A call's hearings as its receipts say they were, and the case that policy had before it.

Trusted to take nothing for recorded that no receipt says. What the receipts do not hold (arguments,
by design) is the stored call's. Raises nothing: what an older version recorded otherwise is no
hearing here, or one that cannot be heard again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from daemon.calls.hearing import Approvers, Case, Ruling
from daemon.calls.standing import Standing
from daemon.config import zone_of
from daemon.leases.meaning import facts_of, permits_of
from daemon.store.calls import CallRow
from daemon.store.receipts import ReceiptRow
from daemon.tools.arguments import parse_arguments
from daemon.tools.errors import ToolError
from policy.arguments import Translation, to_context
from policy.entity_store import EntityStore
from policy.errors import PolicyError
from policy.lease import LeaseRefusedError
from policy.pdp import PDP
from policy.risk import RiskInputs, Tier
from policy.values import EntityUid
from stockade.lease import LeaseError, LeaseTerms, parse_lease

Terms = Mapping[str, bytes]
"""What was signed of leases, by their ids, as the database has it."""

_RULINGS: Mapping[str, Ruling] = {
    "call.permitted": Ruling.PERMIT,
    "call.pending_approval": Ruling.ASK,
    "call.denied": Ruling.DENY,
}


@dataclass(frozen=True, slots=True)
class Told:
    """One ruling on a call, as its receipt has it."""

    sequence: int
    kind: str
    time: str
    ruling: Ruling
    body: Mapping[str, Any] = field(repr=False)

    @property
    def heard(self) -> Mapping[str, Any]:
        """What policy was told; empty where it was not asked, or by an older version."""
        found = self.body.get("heard")
        return found if isinstance(found, dict) else {}

    @property
    def policy_digest(self) -> str:
        """Of the state it was made under."""
        return str(self.body.get("policy_digest", ""))

    @property
    def questions(self) -> list[dict[str, Any]]:
        """What was asked, and the answers."""
        return list(self.body.get("questions") or ())

    @property
    def tier(self) -> Tier | None:
        """The one it was about, if it came so far."""
        label = self.body.get("tier")
        return next((tier for tier in Tier if tier.label == label), None)

    @property
    def approvers(self) -> tuple[str, ...] | None:
        """The devices whose yes it had; None where nobody's word was asked about."""
        found = self.heard.get("approvers")
        return None if found is None else tuple(map(str, found))

    @property
    def leases(self) -> list[dict[str, Any]]:
        """Those that were put to policy, in order."""
        found = self.heard.get("leases")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @property
    def lease_ids(self) -> tuple[str, ...]:
        """Their ids."""
        both = (one.get(name) for one in self.leases for name in ("lease", "parent"))
        return tuple(str(lease_id) for lease_id in both if lease_id)


def hearings(rows: Iterable[ReceiptRow]) -> tuple[Told, ...]:
    """The rulings on a call, in order."""
    return tuple(
        Told(
            sequence=row.entry.sequence,
            kind=row.entry.kind,
            time=row.entry.time,
            ruling=_RULINGS[row.entry.kind],
            body=json.loads(row.entry.canonical)["body"],
        )
        for row in rows
        if row.entry.kind in _RULINGS
    )


def subjects(row: CallRow) -> tuple[EntityUid, ...]:
    """Who asked, and who answers for it."""
    kind, _, name = row.principal.partition("/")
    device = EntityUid("Device", str(row.device_id))
    return (EntityUid("Agent", name), device) if kind == "agent" else (device,)


def missing(row: CallRow) -> str:
    """Why the arguments of a call are not to be had; empty where they are."""
    if row.arguments:
        return ""
    if row.redacted is not None:
        return "only a redacted copy of its arguments is kept (ledger.contents)"
    return "its arguments were pruned (ledger.retain_days, ledger.retain_mib)"


def redacted_copy(row: CallRow, rows: Iterable[ReceiptRow]) -> bytes | None:
    """The redacted copy of a call's arguments, if it is the one that its receipt names."""
    if row.redacted is None:
        return None
    digest = hashlib.sha256(row.redacted).hexdigest()
    arrivals = (one.entry.canonical for one in rows if one.entry.kind == "call.received")
    named = (json.loads(one)["body"].get("redacted_arguments_digest") for one in arrivals)
    return row.redacted if digest in named else None


def case_of(row: CallRow, told: Told, translation: Translation | None) -> Case | None:
    """The case as policy had it then; None where the records do not tell.

    `translation` is of the tool's arguments, as they were then or as they are now.
    """
    heard = told.heard
    if not heard or translation is None:
        return None
    try:
        parsed = parse_arguments(row.arguments)
        moment = datetime.fromtimestamp(int(heard["time_ms"]) / 1000, UTC)
        return Case(
            subjects=subjects(row),
            tool=row.tool,
            arguments=to_context(row.tool, translation, parsed.value),
            risk=_risk(told.body["risk"]),
            floor=Tier.parse_label(heard["floor"]),
            time=moment.astimezone(zone_of(str(heard["zone"]))),
            maintenance=heard["maintenance"] is True,
            origin=row.origin,
            workspace=row.workspace or "",
            secrets=tuple(heard["secrets"]),
            waited=max(0, int(heard["time_ms"]) - row.created_ms) // 1000,
            arguments_digest=hashlib.sha256(parsed.canonical).hexdigest(),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation, ToolError, PolicyError):
        return None


def approvers_of(told: Told, entities: EntityStore) -> Approvers | None:
    """Whose yes it had then, with the groups they were in then."""
    if told.approvers is None:
        return None
    return counting(frozenset(EntityUid("Device", one) for one in told.approvers), entities)


def counting(devices: frozenset[EntityUid], entities: EntityStore) -> Approvers:
    """These devices as approvers, with the groups that they are in."""
    groups = (uid for device in devices for uid in _groups(entities, device))
    return Approvers(devices, frozenset(groups))


def leases_of(
    told: Told, case: Case, terms: Terms, translation: Translation, pdp: PDP
) -> tuple[tuple[LeaseTerms, Standing], ...] | None:
    """The leases that were put to policy then; None where the records do not tell.

    What the database has of them counts if it is what the receipt has the digest of.
    """
    if told.body.get("lease") and told.body["lease"] not in told.lease_ids:
        return None
    found = []
    for one in told.leases:
        try:
            signed = parse_lease(terms[one["lease"]])
            parent = parse_lease(terms[one["parent"]]) if "parent" in one else None
            if signed.digest() != one["terms_digest"]:
                return None
            if signed.parent != ("" if parent is None else parent.digest()):
                return None
            names = (one["signer"], *one.get("cosigners", ()))
            signers = tuple(EntityUid("Device", str(name)) for name in names)
            standing = Standing(
                lease_id=signed.lease_id,
                terms_digest=signed.digest(),
                permits=permits_of(case.subjects, signed, translation, pdp.bundle.schema, parent),
                facts=replace(facts_of(parent or signed, 0), seconds=int(one["seconds"])),
                signers=signers,
                signer_groups=frozenset(g for one in signers for g in _groups(pdp.entities, one)),
            )
        except (KeyError, TypeError, ValueError, LeaseError, LeaseRefusedError):
            return None
        found.append((signed, standing))
    return tuple(found)


def _groups(entities: EntityStore, uid: EntityUid) -> Iterable[EntityUid]:
    return (one for one in entities.ancestors(uid) if one.type == "Group")


def _risk(values: Mapping[str, Any]) -> RiskInputs:
    numbers = {name: Decimal(values[name]) for name in ("data_sensitivity", "code_trust")}
    return RiskInputs(
        **numbers,
        network=values["network"],
        filesystem_write=values["filesystem_write"],
        external_apis=values["external_apis"],
    )
