"""The score, its boundaries, and the tier it leads to."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.bundle import BundleDigest
from policy.errors import RiskError
from policy.pdp import Decision, ReasonCode
from policy.risk import Floors, RiskInputs, Tier, parse_unit, score, tier_floor, to_text
from policy.tier import choose_tier

UNIT = st.integers(0, 10_000).map(lambda n: Decimal(n).scaleb(-4))
INPUTS = st.builds(RiskInputs, UNIT, UNIT, st.booleans(), st.booleans(), st.booleans())


@given(INPUTS)
def test_the_score_is_the_formula_rounded_up(inputs: RiskInputs) -> None:
    """The score is never below the exact formula, and above it by less than one unit."""
    exact = min(
        Decimal(1),
        Decimal("0.4") * inputs.data_sensitivity
        + Decimal("0.3") * (1 - inputs.code_trust)
        + Decimal("0.1") * (inputs.network + inputs.filesystem_write + inputs.external_apis),
    )
    assert exact <= score(inputs) < exact + Decimal("0.0001")


@given(INPUTS, INPUTS)
def test_the_score_is_monotone_in_each_input(low: RiskInputs, other: RiskInputs) -> None:
    """More of any risk, alone, never lowers the score or the tier."""
    for name in ("data_sensitivity", "network", "filesystem_write", "external_apis"):
        changed = replace(low, **{name: max(getattr(low, name), getattr(other, name))})
        assert score(changed) >= score(low)
        assert tier_floor(score(changed), Floors()) >= tier_floor(score(low), Floors())
    trusted = replace(low, code_trust=max(low.code_trust, other.code_trust))
    assert score(trusted) <= score(low)


@pytest.mark.parametrize(
    ("risk", "tier"),
    [
        ("0", Tier.PROCESS),
        ("0.2999", Tier.PROCESS),
        ("0.3", Tier.CONTAINER),
        ("0.5999", Tier.CONTAINER),
        ("0.6", Tier.GVISOR),
        ("1", Tier.GVISOR),
    ],
)
def test_the_boundaries_are_exact(risk: str, tier: Tier) -> None:
    """At 0.3 a container is the least, at 0.6 gVisor; just below, not yet."""
    assert tier_floor(Decimal(risk), Floors()) is tier


def test_floats_mean_what_they_say() -> None:
    """0.1 + 0.1 + 0.1 in flags is 0.3 exactly, where binary floats would miss the boundary."""
    inputs = RiskInputs(Decimal(0), Decimal(1), True, True, True)
    assert score(inputs) == Decimal("0.3")
    assert tier_floor(score(inputs), Floors()) is Tier.CONTAINER
    assert parse_unit(0.3, "x") == Decimal("0.3")
    everything = RiskInputs(Decimal(1), Decimal(0), True, True, True)
    assert score(everything) == 1


def test_a_receipt_gets_text_not_floats() -> None:
    """The score and its inputs leave as text and bools."""
    inputs = RiskInputs(Decimal("0.5"), Decimal(1), False, True, False)
    assert to_text(score(inputs)) == "0.3000"
    assert inputs.to_json() == {
        "data_sensitivity": "0.5000",
        "code_trust": "1.0000",
        "network": False,
        "filesystem_write": True,
        "external_apis": False,
    }


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, None, "0.5", "", -0.1, 1.1, 2, -1, 0.1 + 0.2, [], 1e-300),
        *(float("nan"), float("inf"), -float("inf")),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("0.00001")),
    ],
)
def test_what_is_no_unit_number_is_refused(value: object) -> None:
    """NaN, infinities, bools, text and anything outside 0 to 1 are errors, not a default."""
    for name in ("data_sensitivity", "code_trust"):
        good = {"data_sensitivity": Decimal(0), "code_trust": Decimal(0)}
        with pytest.raises(RiskError) as caught:
            RiskInputs(
                **{**good, name: value},  # type: ignore[arg-type] # the point of the test
                network=False,
                filesystem_write=False,
                external_apis=False,
            )
        assert caught.value.code == "BAD_RISK_INPUT"
    with pytest.raises(RiskError):
        Floors(container=value)  # type: ignore[arg-type] # the point of the test
    with pytest.raises(RiskError):
        tier_floor(value, Floors())  # type: ignore[arg-type] # the point of the test


@pytest.mark.parametrize("value", [1, 0, None, "true", 1.0])
def test_a_flag_is_a_bool(value: object) -> None:
    """A flag that is no bool is refused rather than read as one."""
    with pytest.raises(RiskError):
        RiskInputs(Decimal(0), Decimal(0), value, False, False)  # type: ignore[arg-type]


def test_floors_are_ordered() -> None:
    """A container floor above the gVisor floor would skip the container."""
    with pytest.raises(RiskError) as caught:
        Floors(container=Decimal("0.7"))
    assert caught.value.code == "BAD_FLOORS"


def test_tier_names() -> None:
    """The names in policies and receipts, and no others."""
    assert [tier.label for tier in sorted(Tier)] == ["process", "container", "gvisor"]
    assert all(Tier.parse_label(tier.label) is tier for tier in Tier)
    for name in ("Process", "gvisor ", "", "none"):
        with pytest.raises(RiskError):
            Tier.parse_label(name)


def answer(allowed: bool) -> Decision:
    code = ReasonCode.PERMITTED if allowed else ReasonCode.NOT_PERMITTED
    return Decision(allowed, code, BundleDigest("0" * 64))


@given(st.sampled_from(Tier), st.booleans(), st.booleans())
def test_the_tier_is_never_below_the_floor(floor: Tier, process: bool, container: bool) -> None:
    """Whatever policy answers, the floor holds, and nothing below it is even asked."""
    said = {"run_in_process": process, "run_in_container": container}
    choice = choose_tier(floor, lambda action: answer(said[action]))
    assert choice.tier >= floor
    names = [name for name, _ in choice.asked]
    assert ("run_in_process" in names) == (floor is Tier.PROCESS)
    if choice.tier is not Tier.GVISOR:
        assert choice.asked[-1][1].allowed
    assert all(not decision.allowed for _, decision in choice.asked[:-1])


def test_policy_can_only_raise_the_tier() -> None:
    """A no to both weak tiers leads to gVisor."""
    choice = choose_tier(Tier.PROCESS, lambda _: answer(False))
    assert choice.tier is Tier.GVISOR
    assert [name for name, _ in choice.asked] == ["run_in_process", "run_in_container"]
