"""The contexts of the questions, typed. Pure; leaves `EntityError` only.

Trusted so that no caller writes Cedar's JSON by hand: every field the schema asks for is an
argument here, and the numbers that go with sets are counted here, not claimed. Hour, date and
weekday are those of the time's own zone: whoever gives a time has put it into the operator's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from policy.context import Context, read
from policy.risk import Tier
from policy.values import CedarValue, EntityUid, datetime_value, decimal_value, entity_value


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What every question about a call says of it. `arguments` comes from `to_context`."""

    arguments: Mapping[str, CedarValue]
    risk: Decimal
    tier: Tier
    time: datetime
    origin: str
    workspace: EntityUid | None = None
    secrets: frozenset[EntityUid] = frozenset()
    # The lease that is asked about, with the digest of the call's canonical arguments.
    lease: str | None = None
    arguments_digest: str = ""
    maintenance: bool = False


def _moment(time: datetime, maintenance: bool) -> dict[str, CedarValue]:
    return {
        "time": datetime_value(time),
        "clock": {
            "epoch": int(time.timestamp() // 1),
            "date": time.date().isoformat(),
            "hour": time.hour,
            "minute": time.minute,
            "weekday": time.isoweekday(),
        },
        "maintenance": maintenance,
    }


def _shared(facts: CallFacts) -> dict[str, CedarValue]:
    context: dict[str, CedarValue] = {
        "arguments": facts.arguments,
        "risk": decimal_value(facts.risk),
        "tier": facts.tier.label,
        **_moment(facts.time, facts.maintenance),
        "origin": facts.origin,
    }
    if facts.workspace is not None:
        context["workspace"] = entity_value(facts.workspace)
    return context


# What is of one form in every context, whatever its value.
_FORMS = {
    name: read(value).form
    for name, value in {
        **_moment(datetime.now(UTC), maintenance=False),
        "risk": decimal_value(Decimal(0)),
        "tier": Tier.GVISOR.label,
        "origin": "",
    }.items()
}


def _context(values: dict[str, CedarValue]) -> Context:
    return Context(values, _FORMS)


def _set(uids: frozenset[EntityUid]) -> list[CedarValue]:
    return [entity_value(uid) for uid in sorted(uids, key=str)]


def _of_call(facts: CallFacts) -> dict[str, CedarValue]:
    lease: dict[str, CedarValue] = {}
    if facts.lease is not None:
        lease = {"lease": facts.lease, "arguments_digest": facts.arguments_digest}
    return {**_shared(facts), "secrets": _set(facts.secrets), **lease}


def call_context(facts: CallFacts) -> Context:
    """For call, call_unattended, run_in_process and run_in_container."""
    return _context(_of_call(facts))


def attended_context(
    facts: CallFacts,
    approvers: frozenset[EntityUid],
    approver_groups: frozenset[EntityUid],
    people: frozenset[str],
) -> Context:
    """For call_attended: those whose yes counts, each once."""
    return _context(
        {
            **_of_call(facts),
            "approvers": _set(approvers),
            "approver_groups": _set(approver_groups),
            "approver_count": len(approvers),
            "approver_people": sorted(people),
            "people_count": len(people),
        }
    )


def approve_context(
    facts: CallFacts, waited: int, device: EntityUid, agent: EntityUid | None = None
) -> Context:
    """For approve: the call, who asks for it, and for how many seconds people are asked."""
    return _context({**_requested(facts, device, agent), "waited": waited})


def _requested(
    facts: CallFacts, device: EntityUid, agent: EntityUid | None
) -> dict[str, CedarValue]:
    requester: dict[str, CedarValue] = {"device": entity_value(device)}
    if agent is not None:
        requester["agent"] = entity_value(agent)
    return {**_shared(facts), "secrets": _set(facts.secrets), "requester": requester}


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What `grant_lease` is told of a lease."""

    seconds: int
    uses: int
    # For one set of arguments alone; under one policy alone.
    exact: bool
    tied: bool


def lease_context(
    facts: CallFacts, lease: LeaseFacts, device: EntityUid, agent: EntityUid | None = None
) -> Context:
    """For grant_lease: the call, who asks for it, and how far the yes would reach."""
    given = {
        "seconds": lease.seconds,
        "uses": lease.uses,
        "exact": lease.exact,
        "tied": lease.tied,
    }
    return _context({**_requested(facts, device, agent), "lease": given})


def secret_context(facts: CallFacts, tool: EntityUid) -> Context:
    """For use_secret: the call that would get it."""
    return _context({**_shared(facts), "tool": entity_value(tool)})


def connect_context(
    tool: EntityUid, port: int, time: datetime, *, maintenance: bool = False
) -> Context:
    """For connect."""
    return _context({"tool": entity_value(tool), "port": port, **_moment(time, maintenance)})


def administrative_context(time: datetime, origin: str, *, maintenance: bool = False) -> Context:
    """For every administrative act."""
    return _context({**_moment(time, maintenance), "origin": origin})


def reaction_context(time: datetime, severity: str, *, maintenance: bool = False) -> Context:
    """For what an alert would bring about: how grave it is."""
    return _context({**_moment(time, maintenance), "severity": severity})
