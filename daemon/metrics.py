"""What the daemon counts and measures, for an operator's monitoring.

What happened is counted from receipts, once they are durable: so a number never says more than the
ledger. What is now (calls, pools, the ledger's lag) is looked at when somebody asks. Labels come
from closed sets of the project's own words; no name of a principal, tool or secret is among them.
Raises nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.gauges import Gauge
from daemon.lifecycle import ENDS
from ledger.chain import Entry

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_RUNS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0)
_END_KINDS = frozenset(f"call.{state}" for state in ENDS)
_TELLING = _END_KINDS | {"call.running", "rpc.refused", "approval.answered"}
# Tiers of runs under way are remembered; beyond so many, those of the oldest are not known.
_MOST_RUNS = 8192


class _Gauges(Collector):
    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Each as it is now."""
        for gauge in self._gauges:
            found = gauge.read()
            kind = CounterMetricFamily if gauge.counts else GaugeMetricFamily
            if isinstance(found, Mapping):
                family = kind(gauge.name, gauge.says, labels=[gauge.label])
                for value, number in found.items():
                    family.add_metric([value], number)
            else:
                family = kind(gauge.name, gauge.says, value=found)
            yield family


class Metrics:
    """See the module. Belongs to the event loop."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # series that nobody asks for
        self._registry = registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        build = Info("stockade_build", "What runs.", registry=registry)
        build.info({"version": metadata.version("stockade")})
        self._calls = Counter(
            "stockade_calls", "Calls that ended, by end.", ["end"], registry=registry
        )
        self._refusals = Counter(
            "stockade_refusals",
            "Calls denied and requests refused, by reason code.",
            ["reason"],
            registry=registry,
        )
        self._answers = Counter(
            "stockade_approval_answers", "People's answers.", ["answer"], registry=registry
        )
        self._redactions = Counter(
            "stockade_redactions", "Values of secrets taken out of output.", registry=registry
        )
        self._receipts = Counter("stockade_receipts", "Receipts made durable.", registry=registry)
        self._decision = Histogram(
            "stockade_decision_seconds",
            "From a call's arrival to policy's ruling.",
            buckets=_FAST,
            registry=registry,
        )
        self._admission = Histogram(
            "stockade_admission_seconds",
            "From a call's arrival until its ruling is durable.",
            buckets=_FAST,
            registry=registry,
        )
        self._runs = Histogram(
            "stockade_run_seconds", "Runs, by tier.", ["tier"], buckets=_RUNS, registry=registry
        )
        self._tiers: dict[str, str] = {}
        for state in ENDS:  # a rate can only be seen of what was there before it rose
            self._calls.labels(str(state))

    def show(self, gauges: Sequence[Gauge]) -> None:
        """These are looked at whenever somebody asks."""
        self._registry.register(_Gauges(gauges))

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def decided(self, call_id: str, seconds: float) -> None:
        """Policy ruled on a call."""
        del call_id
        self._decision.observe(seconds)

    def admitted(self, call_id: str, seconds: float) -> None:
        """A call's ruling is durable."""
        del call_id
        self._admission.observe(seconds)

    def recorded(self, entries: Sequence[Entry]) -> None:
        """Receipts became durable."""
        self._receipts.inc(len(entries))
        for entry in entries:
            if entry.kind in _TELLING:
                self._count(entry.kind, orjson.loads(entry.canonical)["body"])

    def _count(self, kind: str, body: Mapping[str, Any]) -> None:
        call_id = str(body.get("call", ""))
        if kind == "call.running":
            if len(self._tiers) >= _MOST_RUNS:
                self._tiers.pop(next(iter(self._tiers)))
            self._tiers[call_id] = str(body["tier"])
        elif kind == "approval.answered":
            self._answers.labels(str(body["answer"])).inc()
        elif kind == "rpc.refused":
            self._refusals.labels(str(body["reason"])).inc()
        else:
            self._ended(kind, call_id, body)

    def _ended(self, kind: str, call_id: str, body: Mapping[str, Any]) -> None:
        self._calls.labels(kind.removeprefix("call.")).inc()
        if kind == "call.denied":
            self._refusals.labels(str(body.get("reason", ""))).inc()
        tier = self._tiers.pop(call_id, "")
        if tier and "wall_ms" in body:
            self._runs.labels(tier).observe(int(body["wall_ms"]) / 1000)
        self._redactions.inc(int(body.get("redactions", 0)))
