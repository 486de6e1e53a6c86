"""What the figures are meant to reach. Reported, never asserted: a busy machine is no defect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.result import Result


@dataclass(frozen=True, slots=True)
class Target:
    """At most `bound`, in the result's unit; or so many times the result `of`. Or at least."""

    name: str
    figure: str
    bound: float
    of: str = ""
    at_least: bool = False


TARGETS = (
    Target("call.denied", "p50", 2.0),
    Target("call.denied", "p99", 8.0),
    Target("call.process.true", "p50", 2.0, of="bare.bwrap.true"),
    Target("call.process.true", "p50", 8.0),
    Target("call.process.true", "p99", 25.0),
    Target("call.container.true", "p50", 12.0),
    Target("call.container.true", "p99", 40.0),
    Target("call.gvisor.true", "p50", 25.0),
    Target("call.gvisor.true", "p99", 80.0),
    Target("call.gvisor.python", "p50", 15.0),
    Target("call.container.cold", "p50", 1.3, of="bare.docker.true"),
    Target("call.gvisor.cold", "p50", 1.3, of="bare.runsc.true"),
    Target("load.container.fairness", "p99", 2.0),
    *(Target(f"policy.questions.{n}", "p50", 150.0) for n in (10, 100, 1000, 10_000)),
    *(Target(f"policy.questions.{n}", "p99", 600.0) for n in (10, 100, 1000, 10_000)),
    *(Target(f"policy.looks.{n}", "p50", 150.0) for n in (10, 100, 1000, 10_000)),
    *(Target(f"policy.looks.{n}", "p99", 600.0) for n in (10, 100, 1000, 10_000)),
    *(Target(f"policy.anew.{n}", "p50", 150.0) for n in (10, 100, 1000, 10_000)),
    *(Target(f"policy.anew.{n}", "p99", 600.0) for n in (10, 100, 1000, 10_000)),
    Target("policy.questions.10000", "p50", 2.0, of="policy.questions.10"),
    Target("policy.looks.10000", "p50", 2.0, of="policy.looks.10"),
    Target("policy.anew.10000", "p50", 2.0, of="policy.anew.10"),
    Target("policy.call.10000", "p50", 2.0, of="policy.call.10"),
    Target("policy.questions.10000", "p50", 0.02, of="policy.whole_set.10000"),
    Target("policy.looks.10000", "p50", 0.02, of="policy.whole_set.10000"),
    Target("policy.anew.10000", "p50", 0.02, of="policy.whole_set.10000"),
    Target("policy.activate.10000", "p50", 3.0),
    Target("policy.activate.stall", "value", 20.0),
    Target("policy.rss.10000", "p50", 150.0),
    Target("identity.principal", "p50", 30.0),
    Target("identity.cut.tool", "p99", 1000.0),
    # Whole: the tier's own time, which the target leaves out, is in it.
    Target("approval.resume", "p50", 15.0),
    Target("approval.pending_10000.list", "p99", 50.0),
    Target("approval.pending_10000.decide", "p99", 50.0),
    Target("approval.pending_10000.memory", "p50", 60.0),
    Target("vault.resolve", "p50", 200.0),
    Target("vault.redact", "p50", 150.0, at_least=True),
    Target("vault.list.10000", "p50", 2.0, of="vault.list.10"),
    Target("vault.get.10000", "p50", 2.0, of="vault.get.10"),
    Target("vault.rewrap.10000", "p50", 5.0),
    Target("ledger.append_rate", "p50", 10_000, at_least=True),
    Target("ledger.durable_latency", "p50", 1.0),
    Target("ledger.durable_call", "p50", 1.0),
    Target("ledger.durable_at_1000", "p99", 20.0),
    # Rates: the shorter ledger's, of the longer one's.
    Target("ledger.append_at_10k", "p50", 1.2, of="ledger.append_at_10m"),
    Target("ledger.verify_rate", "p50", 10_000, at_least=True),
    Target("long.ledger.sustained", "p50", 10_000, at_least=True),
    Target("long.ledger.sustained.cpu", "p50", 10_000, at_least=True),
    Target("long.ledger.append_at_10k", "p50", 1.2, of="long.ledger.append_at_10m"),
    Target("long.ledger.verify_1m.cpu", "p50", 10_000, at_least=True),
    Target("long.ledger.verify_1m.memory", "p50", 100.0),
    Target("long.ledger.verify_1m.jobs.memory", "p50", 100.0),
    Target("daemon.ready", "p50", 1.5),
    Target("daemon.rss_idle", "p50", 110.0),
)


def judged(results: Mapping[str, Result]) -> Iterator[str]:
    """A line for every target whose figures are there."""
    for target in TARGETS:
        found, other = results.get(target.name), results.get(target.of)
        if found is None or (target.of and other is None):
            continue
        measured, unit = float(getattr(found, target.figure)), found.unit
        if other is not None:
            measured, unit = measured / float(getattr(other, target.figure)), f"x {target.of}"
        reached = measured >= target.bound if target.at_least else measured <= target.bound
        failed = sum(sum(one.failed.values()) for one in (found, other) if one is not None)
        sign, word = ">=" if target.at_least else "<=", "reached" if reached else "MISSED"
        if failed:  # what fails may be as quick as it likes
            word = f"{failed} FAILED"
        what = f"{target.name} {target.figure}"
        yield f"{what:<24} {measured:8.2f}  target {sign} {target.bound:g} {unit}: {word}"
