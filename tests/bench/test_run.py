"""The program, with a handful of repetitions of the real thing."""

import json
import os
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.apart import apart
from bench.engines import runtimes
from bench.measures import ALL
from bench.plan import Bench, bench
from bench.result import Result, distribution
from tests.host import missing

# What docs/benchmarks.md promises.
CONTRACT = {
    *("call.denied", "call.process.true", "bare.bwrap.true", "daemon.ready", "daemon.rss_idle"),
    *("daemon.idle_cpu", "call.rested.denied", "bare.spawn.rested"),
    *("identity.handshake", "identity.principal", "rpc.rate_1", "rpc.rate_50"),
    *(f"identity.{what}.{n}" for what in ("handshake", "rpc", "cut") for n in (1, 10_000)),
    *(f"policy.questions.{n}" for n in (10, 100, 1000, 10_000)),
    *(f"policy.whole_set.{n}" for n in (10, 100, 1000, 10_000)),
    *(f"policy.{what}.{n}" for what in ("first", "call") for n in (10, 100, 1000, 10_000)),
    *("policy.activate.10000", "policy.activate.stall", "policy.rss.10000"),
    *("approval.resume", "vault.resolve", "vault.redact"),
    *("ledger.append_rate", "ledger.durable_latency", "ledger.verify_rate"),
    *("ledger.durable_at_1000", "ledger.append_at_10m", "ledger.append_at_10k"),
    *("ledger.verify_rate.jobs", "ledger.durable_call"),
    *("load.1000rps", "load.1000rps.reached", "load.1000rps.cpu", "load.1000rps.rss"),
}
RESULT_KEYS = {"name", "unit", "n", "p50", "p90", "p99"}


def run(out: Path, only: str, times: int = 3) -> dict[str, dict[str, object]]:
    """The results by name; the document's shape is checked on the way."""
    assert main(["--only", only, "--times", str(times), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert set(document) == {"machine", "versions", "commit", "results"}
    assert document["machine"]["cores"] >= 1
    assert document["versions"]["python"]
    for result in document["results"]:
        assert RESULT_KEYS <= set(result) <= RESULT_KEYS | {"value", "beside", "failed"}
    return {result["name"]: result for result in document["results"]}


def test_every_name_of_the_contract_is_measured_once() -> None:
    """Programs find the figures by these names."""
    names = [name for measure in ALL for name in measure.names]
    assert len(names) == len(set(names))
    assert set(names) >= CONTRACT


def test_a_denied_call_is_measured_on_a_real_daemon(tmp_path: Path) -> None:
    """`--only` measures what begins so and nothing else; no call fails."""
    results = run(tmp_path / "out.json", "call.denied")
    assert set(results) == {"call.denied"}
    assert (results["call.denied"]["n"], "failed" in results["call.denied"]) == (3, False)


def test_the_engine_alone_runs_beside_the_tier(tmp_path: Path) -> None:
    """On the very image that the tier makes: a run that fails would look fast."""
    if "runc" not in runtimes():
        missing("Docker Engine, or its command")
    results = run(tmp_path / "out.json", "bare.docker.true")
    assert set(results) > {"bare.docker.true", "call.container.true"}
    assert not [name for name, result in results.items() if "failed" in result]


def test_what_is_measured_side_by_side_comes_together(tmp_path: Path) -> None:
    """Asked for one of a pair, both are measured, each naming the other; neither fails."""
    results = run(tmp_path / "out.json", "bare.bwrap")
    assert {"call.process.true", "call.process.cold", "bare.bwrap.true"} <= set(results)
    for name, result in results.items():
        assert result["beside"] in set(results) - {name}
        assert "failed" not in result


@pytest.mark.parametrize("only", ["vault.", "ledger.", "policy.questions.10", "identity.p"])
def test_the_parts_are_measured_in_process(tmp_path: Path, only: str) -> None:
    """Each runs with a tiny n and gives positive figures."""
    results = run(tmp_path / "out.json", only, times=2)
    assert results
    for result in results.values():
        assert float(str(result["p50"])) > 0


def test_what_takes_an_hour_is_run_only_by_its_name(tmp_path: Path) -> None:
    """`make bench` has none of it; asked for, all of it is measured."""
    long = [measure for measure in ALL if any(one.startswith("long.") for one in measure.names)]
    assert long
    assert not [measure for measure in long if measure.wanted("") or measure.wanted("ledger.")]
    results = run(tmp_path / "out.json", "long.ledger.append", times=1)
    assert set(results) == set(long[-1].names)
    for result in results.values():
        assert float(str(result["p50"])) > 0


def test_an_unknown_prefix_is_refused_with_the_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo measures nothing and says what there is."""
    assert main(["--only", "cal.denied", "--out", str(tmp_path / "out.json")]) == 2
    assert "call.denied" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def where(bench: Bench) -> list[Result]:
    """The process it is measured in, and how often."""
    return [distribution("where", "x", [os.getpid()] * bench.times(5))]


def test_a_measure_apart_has_a_process_of_its_own() -> None:
    """What was measured before it left nothing there; it heeds the same cap."""
    with bench(2) as run:
        first, second = (next(iter(apart(where)(run))) for _ in range(2))
    assert (first.n, second.n) == (2, 2)
    assert len({first.p50, second.p50, os.getpid()}) == 3
