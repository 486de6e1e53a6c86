"""The judge: which questions, in which order, and that only a plain yes to each permits."""

import json
from collections.abc import Callable

import pytest

from daemon.calls.hearing import TIER_UNAVAILABLE, Ruling
from daemon.calls.judge import may_approve
from daemon.principal import Principal
from policy.entity_data import EntityData
from policy.pdp import ReasonCode
from policy.risk import Tier
from policy.values import EntityUid
from tests.daemon.judging import (
    APPROVER,
    CALLER,
    MISSING,
    NOW,
    ONLY_PROCESS,
    OWNER,
    SECOND_APPROVER,
    STRANGER,
    asked,
    candidate,
    floors,
    verdict,
    world,
)

Kind = Callable[[str, str], str]

SHELL = b'{"command":"id"}'
# Valid by the schema, and an overflow when it is evaluated.
FAILS = "9223372036854775807 + 1 == 0"
USE = 'permit (principal, action == Action::"use_secret", resource);'
ALONE = 'permit (principal, action == Action::"call_unattended", resource);'


def forbid(action: str, when: str = "true") -> str:
    scope = f'principal, action == Action::"{action}", resource'
    return f'@id("no-{action}") forbid ({scope}) when {{ {when} }};'


def permit(action: str, when: str = "true") -> str:
    scope = f'principal, action == Action::"{action}", resource'
    return f'@id("yes-{action}") permit ({scope}) when {{ {when} }};'


def test_the_order_of_questions_unattended() -> None:
    """At all, in which tier, with its secrets, without a human: each question once."""
    ruled = verdict(world(USE + ALONE), "keyed")
    assert ruled.ruling is Ruling.PERMIT
    assert asked(ruled) == ["call", "run_in_process", "use_secret", "call_unattended"]
    assert ruled.code == "PERMITTED"
    assert ruled.exact is not None
    assert ruled.exact.secrets == ("secret://global/key",)


def test_the_order_of_questions_attended() -> None:
    """With approvers the very same questions are asked; only the last is another."""
    ruled = verdict(world(USE), "keyed", approvers=[APPROVER])
    assert ruled.ruling is Ruling.PERMIT
    assert asked(ruled) == ["call", "run_in_process", "use_secret", "call_attended"]
    assert ruled.code == "APPROVED"


def test_a_human_is_asked_only_about_what_could_run() -> None:
    """A call that policy does not let run unattended waits, and says what it would be."""
    ruled = verdict(world(), "run_shell", arguments=SHELL)
    assert (ruled.ruling, ruled.code) == (Ruling.ASK, "APPROVAL_REQUIRED")
    assert asked(ruled)[-1] == "call_unattended"
    assert ruled.exact is not None
    assert ruled.exact.arguments == {"command": "id"}
    assert ruled.exact.policy_digest == ruled.policy_digest


@pytest.mark.parametrize("text", ["", "// nothing", forbid("connect")])
@pytest.mark.parametrize("approvers", [None, [APPROVER], [APPROVER, SECOND_APPROVER]])
def test_no_policy_at_all_denies(approvers: list[Principal] | None, text: str) -> None:
    """Where nothing is permitted in writing nothing is permitted, whoever says yes."""
    ruled = verdict(world({"only.cedar": text}), "mild", OWNER, approvers=approvers)
    assert (ruled.ruling, ruled.code) == (Ruling.DENY, "NOT_PERMITTED")
    assert asked(ruled) == ["call"]
    assert ruled.exact is None


@pytest.mark.parametrize("action", ["call", "use_secret"])
@pytest.mark.parametrize("approvers", [None, [APPROVER], [OWNER, APPROVER, SECOND_APPROVER]])
def test_a_forbid_denies_before_anybody_is_asked(
    action: str, approvers: list[Principal] | None
) -> None:
    """A forbid wins over every permit, and no number of approvers changes that."""
    text = USE + ALONE + forbid(action)
    ruled = verdict(world(text), "keyed", approvers=approvers)
    assert (ruled.ruling, ruled.code) == (Ruling.DENY, "FORBIDDEN")
    assert asked(ruled)[-1] == action
    assert not {"call_unattended", "call_attended"} & set(asked(ruled))
    assert [(ref.id, ref.file) for ref in ruled.policies] == [(f"no-{action}", "extra.cedar")]
    assert f"no-{action} (extra.cedar:1)" in ruled.message


@pytest.mark.parametrize("action", ["call", "use_secret"])
@pytest.mark.parametrize("kind", [permit, forbid])
def test_a_policy_that_errors_denies(action: str, kind: Kind) -> None:
    """The engine skips a policy in error; here that is a no, although a permit matched."""
    ruled = verdict(world(USE + ALONE + kind(action, FAILS)), "keyed")
    assert (ruled.ruling, ruled.code) == (Ruling.DENY, "EVALUATION_ERROR")
    assert asked(ruled)[-1] == action


@pytest.mark.parametrize("kind", [permit, forbid])
def test_an_error_in_the_question_of_a_human_never_permits(kind: Kind) -> None:
    """A policy in error about attendance asks, and goes on asking: it permits nothing."""
    alone = verdict(world(ALONE + kind("call_unattended", FAILS)), "mild")
    assert (alone.ruling, alone.code) == (Ruling.ASK, "APPROVAL_REQUIRED")
    attended = verdict(world(kind("call_attended", FAILS)), "mild", approvers=[APPROVER])
    assert attended.ruling is Ruling.ASK


@pytest.mark.parametrize("kind", [permit, forbid])
def test_an_error_about_a_tier_only_raises_it(kind: Kind) -> None:
    """A tier that policy could not be asked about is not taken: the next stronger one is."""
    assert verdict(world(kind("run_in_process", FAILS)), "mild").tier is Tier.CONTAINER


def test_a_stranger_is_denied() -> None:
    """A device in no group may call nothing; one that does not exist neither."""
    assert verdict(world(), "mild", STRANGER).code == "NOT_PERMITTED"
    without = world(devices=[OWNER])
    assert verdict(without, "mild", CALLER).code == "UNKNOWN_PRINCIPAL"


def test_an_approver_may_not_call() -> None:
    """Being asked for a yes is no right to call."""
    assert verdict(world(), "mild", APPROVER).ruling is Ruling.DENY


@pytest.mark.parametrize(
    ("tool", "floor"),
    [("mild", Tier.PROCESS), ("risky", Tier.CONTAINER), ("riskiest", Tier.GVISOR)],
)
def test_the_tier_follows_the_risk(tool: str, floor: Tier) -> None:
    """No question is asked about a tier below the floor, and none about the strongest."""
    ruled = verdict(world(ALONE), tool)
    assert ruled.tier is floor
    questions = {"run_in_process": Tier.PROCESS, "run_in_container": Tier.CONTAINER}
    assert [questions[a] for a in asked(ruled) if a in questions] == (
        [] if floor is Tier.GVISOR else [floor]
    )


def test_policy_raises_the_tier_and_never_lowers_it() -> None:
    """A forbid lifts the call to the next tier; a permit cannot pull it under its floor."""
    lifted = forbid("run_in_process")
    assert verdict(world(lifted), "mild").tier is Tier.CONTAINER
    assert verdict(world(lifted + forbid("run_in_container")), "mild").tier is Tier.GVISOR
    everything = "permit (principal, action, resource);"
    assert verdict(world(everything), "risky").tier is Tier.CONTAINER
    assert verdict(world(everything), "riskiest").tier is Tier.GVISOR


def test_the_floors_are_the_operators() -> None:
    """A floor of 0 sends every call to a stronger sandbox."""
    assert verdict(world(config=floors("0", "0")), "mild").tier is Tier.GVISOR
    assert verdict(world(config=floors("0", "1")), "mild").tier is Tier.CONTAINER


@pytest.mark.parametrize("approvers", [None, [APPROVER]])
@pytest.mark.parametrize("tool", ["risky", "riskiest"])
def test_a_tier_that_does_not_work_refuses(tool: str, approvers: list[Principal] | None) -> None:
    """A missing tier refuses the call with the fix; no weaker one is tried, nobody is asked."""
    ruled = verdict(world(ALONE, unavailable=ONLY_PROCESS), tool, approvers=approvers)
    assert (ruled.ruling, ruled.code, ruled.fix) == (Ruling.DENY, TIER_UNAVAILABLE, MISSING.fix)
    assert MISSING.reason in ruled.message
    assert ruled.tier is None
    assert ruled.exact is None
    assert not {"call_unattended", "call_attended"} & set(asked(ruled))


def test_a_missing_weak_tier_is_not_made_up_for() -> None:
    """A call meant for the process tier is refused without it, not run elsewhere unasked."""
    ruled = verdict(world(unavailable={Tier.PROCESS: MISSING}), "mild")
    assert ruled.code == TIER_UNAVAILABLE


def test_a_secret_without_a_grant_is_denied() -> None:
    """No default policy grants a secret; an approver cannot either."""
    for approvers in (None, [APPROVER]):
        ruled = verdict(world(ALONE), "keyed", approvers=approvers)
        assert (ruled.ruling, ruled.code) == (Ruling.DENY, "NOT_PERMITTED")
        assert asked(ruled)[-1] == "use_secret"


def test_a_quorum_is_policy() -> None:
    """With a two-person rule one yes asks on, two are enough, and one twice is one."""
    two = world(forbid("call_attended", "context.approver_count < 2"))
    assert verdict(two, "mild", approvers=[]).ruling is Ruling.ASK
    assert verdict(two, "mild", approvers=[APPROVER]).ruling is Ruling.ASK
    assert verdict(two, "mild", approvers=[APPROVER, APPROVER]).ruling is Ruling.ASK
    assert verdict(two, "mild", approvers=[APPROVER, SECOND_APPROVER]).ruling is Ruling.PERMIT


@pytest.mark.parametrize(
    ("first", "second", "people"),
    [("ada", "ada", 1), ("Ada L", "ada l", 1), ("ada l", "adal", 1), ("ada", "bo", 2)],
)
def test_people_are_counted_by_what_their_names_look_like(
    first: str, second: str, people: int
) -> None:
    """Tags from before look-alikes were refused make no two people of one."""
    names = {APPROVER: first, SECOND_APPROVER: second}
    tags = {EntityUid("Device", who.device_id): {"person": name} for who, name in names.items()}
    two = world(forbid("call_attended", "context.people_count < 2"), data=EntityData(tags=tags))
    ruling = verdict(two, "mild", approvers=[APPROVER, SECOND_APPROVER]).ruling
    assert ruling is (Ruling.PERMIT if people == 2 else Ruling.ASK)


def test_no_yes_is_not_enough_by_default() -> None:
    """An empty list of approvers is not an approval."""
    assert verdict(world(), "mild", approvers=[]).ruling is Ruling.ASK


def test_policy_sees_the_arguments() -> None:
    """A rule about an argument holds for that argument and no other."""
    given = "context.arguments has mild && context.arguments.mild has text"
    rules = world(ALONE + forbid("call", f'{given} && context.arguments.mild.text == "bad"'))
    assert verdict(rules, "mild", arguments=b'{"text":"bad"}').code == "FORBIDDEN"
    assert verdict(rules, "mild", arguments=b'{"text":"good"}').ruling is Ruling.PERMIT
    assert verdict(rules, "mild").ruling is Ruling.PERMIT


def test_risk_is_recorded_and_never_understated() -> None:
    """The verdict carries the score's inputs; thousandths are rounded up."""
    ruled = verdict(world(), "mild")
    assert ruled.risk is not None
    assert ruled.risk_milli == 190  # 0.4 x 0.1 + 0.3 x 0.5
    json.dumps(ruled.risk.to_json())


def test_the_same_call_has_the_same_digest_and_another_another() -> None:
    """The digest names exactly this call: principal, tool, arguments, tier, policy."""
    here = world(ALONE)
    first = verdict(here, "mild", arguments=b'{"text":"a"}').exact
    again = verdict(here, "mild", arguments=b'{ "text" : "a" }').exact
    assert first is not None
    assert again is not None
    assert first.digest() == again.digest()
    others = [
        verdict(here, "mild", arguments=b'{"text":"b"}').exact,
        verdict(here, "mild", OWNER, arguments=b'{"text":"a"}').exact,
        verdict(world(ALONE + "// changed"), "mild", arguments=b'{"text":"a"}').exact,
        verdict(world(ALONE + forbid("run_in_process")), "mild", arguments=b'{"text":"a"}').exact,
    ]
    digests = {other.digest() for other in others if other is not None}
    assert len(digests) == 4
    assert first.digest() not in digests


def test_who_may_approve() -> None:
    """Owners and approvers may; callers and strangers may not; nobody their own."""
    here = world()
    shell = candidate("run_shell", OWNER, SHELL)
    ruled = verdict(here, "run_shell", OWNER, SHELL)

    def may(approver: Principal) -> bool:
        return may_approve(here, shell, ruled, NOW, approver, 0).allowed

    assert may(APPROVER)
    assert may(SECOND_APPROVER)
    assert not may(CALLER)
    assert not may(STRANGER)
    own = may_approve(here, shell, ruled, NOW, OWNER, 0)
    assert (own.allowed, own.code) == (False, ReasonCode.FORBIDDEN)


def test_a_forbid_or_an_error_about_approving_silences_the_approver() -> None:
    """A policy in error about who may approve is a no."""
    shell = candidate("run_shell", CALLER, SHELL)
    for text in (forbid("approve"), forbid("approve", FAILS), permit("approve", FAILS)):
        here = world(text)
        ruled = verdict(here, "run_shell", CALLER, SHELL)
        assert not may_approve(here, shell, ruled, NOW, APPROVER, 0).allowed
