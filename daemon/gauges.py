"""What monitoring may look at: each number that is now, and where it is read.

Reads only; belongs to the event loop. Raises nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from daemon.calls.engine import Calls
from daemon.health import Health
from daemon.ledger.book import Book
from daemon.parts import Parts
from daemon.rpc.port import Port


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something that is now: a number, or one for each value of a label."""

    name: str
    says: str
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""
    counts: bool = False  # it only grows, since the start


def gauges(
    parts: Parts,
    calls: Calls,
    book: Book,
    health: Health,
    port: Port,
    put_off: Mapping[str, int],
) -> Sequence[Gauge]:
    """All of them."""
    tiers, writer = parts.tiers, parts.base.writer
    return (
        Gauge("stockade_serving", "1 while health is ok.", lambda: health.serves),
        Gauge("stockade_calls_running", "Tools that run.", lambda: calls.running),
        Gauge("stockade_calls_open", "Calls that have not ended.", lambda: calls.open),
        Gauge("stockade_approvals_pending", "Calls that wait for people.", lambda: calls.pending),
        Gauge(
            "stockade_connections",
            "Connections of the port: of principals, and of who has not said yet who it is.",
            lambda: port.open,
            label="of",
        ),
        Gauge(
            "stockade_connections_ended",
            "Connections ended or refused so that others can come, by why.",
            lambda: port.ended,
            label="why",
            counts=True,
        ),
        Gauge(
            "stockade_put_off",
            "Requests told to come later, by the bound that was reached.",
            lambda: put_off,
            label="reason",
            counts=True,
        ),
        Gauge("stockade_ledger_sequence", "Number of the last receipt.", lambda: book.sequence),
        Gauge(
            "stockade_ledger_works",
            "1 while receipts can be written.",
            lambda: writer.fault is None,
        ),
        Gauge("stockade_ledger_lag", "Writes that wait for the disk.", lambda: writer.pending),
        Gauge(
            "stockade_vault_open",
            "1 while secrets can be used.",
            lambda: parts.vault.keeper.state.available,
        ),
        Gauge(
            "stockade_policy_valid",
            "1 while a valid set of policies is in force.",
            lambda: parts.worlds.current.fault is None,
        ),
        Gauge(
            "stockade_maintenance",
            "1 in a time of maintenance.",
            lambda: parts.worlds.current.data.maintenance,
        ),
        Gauge("stockade_tools", "Tools.", lambda: len(parts.worlds.current.registry.tools)),
        Gauge(
            "stockade_tier_works",
            "1 while the tier works here.",
            lambda: {tier.label: report.works for tier, report in tiers.reports.items()},
            label="tier",
        ),
        Gauge(
            "stockade_sandboxes_ready",
            "Sandboxes that were started ahead and wait.",
            lambda: {tier.label: sandbox.ready for tier, sandbox in tiers.sandboxes.items()},
            label="tier",
        ),
    )
