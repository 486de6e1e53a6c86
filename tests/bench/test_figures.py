"""Percentiles, rates, failures and the table."""

import pytest

from bench.measures import ALL
from bench.report import document, heading, remarks, row
from bench.result import Result, distribution, percentile, rate, timing
from bench.sampling import Samples, Step, StepError, interleaved, sample
from bench.targets import TARGETS


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50.0), (90, 90.0), (99, 99.0), (100, 100.0), (0, 1.0)]
)
def test_a_percentile_is_a_measured_figure_by_nearest_rank(percent: int, expected: float) -> None:
    """Of 1 to 100 in any order, the nth percentile is n."""
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    """An empty measurement is an error and not a zero."""
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_percentiles_of_a_rate_count_from_the_slow_end() -> None:
    """The p99 of a rate is what 99 of 100 windows reached at least."""
    found = rate("r", "calls/s", [float(n) for n in range(1, 101)])
    assert (found.p50, found.p90, found.p99) == (51.0, 11.0, 2.0)
    assert found.value == found.p50


def test_a_failed_step_is_counted_under_its_reason_and_its_time_stays() -> None:
    """Percentiles are over all calls, failed ones are named."""
    turns = iter(range(4))

    def step() -> None:
        if next(turns) % 2:
            raise StepError("DENIED")

    samples = sample(4, 0, step)
    found = timing("call.x", "ms", samples)
    assert (found.n, found.failed) == (4, {"DENIED": 2})
    assert "call.x: 2 of 4 failed: DENIED" in list(remarks([found]))


def test_a_defect_ends_the_benchmark() -> None:
    """What is not a failure of the measured call is not swallowed as one."""
    with pytest.raises(ZeroDivisionError):
        sample(1, 0, lambda: 1 / 0)


def test_steps_side_by_side_take_turns() -> None:
    """A B A B, warm rounds included, what surrounds a step being outside its time."""
    seen: list[str] = []
    a = Step(lambda: seen.append("a"), lambda: seen.append("("), lambda: seen.append(")"))
    b = Step(lambda: seen.append("b"))
    both = interleaved(2, 1, a, b)
    assert "".join(seen) == "(a)b" * 3
    assert [len(samples.seconds) for samples in both] == [2, 2]


def test_the_json_of_a_result_has_the_contract_s_keys() -> None:
    """Optional keys are there only when they say something."""
    plain = distribution("a", "ms", [1.0])
    assert plain.to_json() == {"name": "a", "unit": "ms", "n": 1, "p50": 1, "p90": 1, "p99": 1}
    full = Result("b", "MB/s", 2, 1.0, 1.0, 1.0, value=2.34567, beside="a", failed={"X": 1})
    assert full.to_json() | {"value": 2.346, "beside": "a", "failed": {"X": 1}} == full.to_json()
    found = document([plain], machine={"cores": 2}, versions={"python": "3"}, commit="abc")
    assert list(found) == ["machine", "versions", "commit", "results"]


def test_the_table_fits_80_columns() -> None:
    """Also with long names and large figures."""
    samples = Samples([123.456789] * 3)
    rows = [heading(), row(timing("policy.questions.10000", "us", samples))]
    rows.append(row(rate("ledger.durable_latency", "calls/s", [1234567.8])))
    assert max(map(len, rows)) <= 80


def test_a_pair_is_reported_as_one_ratio_and_targets_are_judged() -> None:
    """The ratio is of the medians; a missed target is said, not raised."""
    call = distribution("call.process.true", "ms", [20.0], beside="bare.bwrap.true")
    bare = distribution("bare.bwrap.true", "ms", [5.0], beside="call.process.true")
    lines = list(remarks([call, bare]))
    assert lines[0] == "call.process.true / bare.bwrap.true = 4.00 (p50)"
    assert lines[1].endswith("target <= 2 x bare.bwrap.true: MISSED")
    assert lines[-1].endswith("target <= 25 ms: reached")
    assert max(map(len, lines)) <= 80


def test_a_rate_is_judged_from_below() -> None:
    """More is better: what falls short is missed."""
    for figure, word in ((9_999.0, "MISSED"), (10_000.0, "reached")):
        (line,) = remarks([rate("ledger.verify_rate", "rec/s", [figure])])
        assert line.endswith(f"target >= 10000 rec/s: {word}")


def test_what_failed_reaches_nothing() -> None:
    """However quick it was: the figure has a number of failures where its verdict would be."""
    quick = distribution("call.denied", "ms", [0.1] * 20, failed={"SNAPSHOT_MISSING": 14})
    lines = [line for line in remarks([quick]) if "target" in line]
    assert len(lines) == 2
    assert all(line.endswith(": 14 FAILED") for line in lines)


def test_each_target_is_of_something_that_is_measured() -> None:
    """A name that no measure has would never be judged."""
    names = {name for measure in ALL for name in measure.names}
    assert {one for target in TARGETS for one in (target.name, target.of) if one} <= names
