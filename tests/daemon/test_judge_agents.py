"""The judge on agents: every question twice, the device's no is a no, and the manifest bounds."""

from dataclasses import replace

import pytest

from daemon.calls.hearing import Ruling
from daemon.calls.judge import Verdict, may_approve
from daemon.principal import Principal
from policy.risk import Tier
from tests.daemon.judging import (
    APPROVER,
    CALLER,
    NOW,
    OWNER,
    SECRET,
    STRANGER,
    agent_of,
    asked,
    candidate,
    verdict,
    world,
)

BOT = agent_of(CALLER)
BOT_ID = str(BOT.name.id)
ACTIONS = ["call", "run_in_process", "use_secret", "call_unattended"]
USE = '@id("use") permit (principal, action == Action::"use_secret", resource);'
ALONE = '@id("alone") permit (principal, action == Action::"call_unattended", resource);'
ALL = f"{USE}{ALONE}"
SHELL = b'{"command":"id"}'


def for_agent(kind: str, action: str) -> str:
    return (
        f'@id("a") {kind} (principal == Agent::"{BOT_ID}", action == Action::"{action}", resource);'
    )


def for_device(kind: str, action: str) -> str:
    scope = f'principal == Device::"{CALLER.device_id}", action == Action::"{action}", resource'
    return f'@id("d") {kind} ({scope});'


def judged(text: str, tool: str = "keyed", who: Principal = BOT, **more: object) -> Verdict:
    return verdict(world(text, agents=[who]), tool, who, **more)  # type: ignore[arg-type]


def test_every_question_is_asked_for_the_agent_and_for_its_device() -> None:
    """Each action twice, the agent first; the receipt says of whom."""
    ruled = judged(ALL)
    assert ruled.ruling is Ruling.PERMIT
    assert asked(ruled) == [action for action in ACTIONS for _ in range(2)]
    subjects = [f'Agent::"{BOT_ID}"', f'Device::"{CALLER.device_id}"']
    assert [one.to_json()["principal"] for one in ruled.asked] == subjects * len(ACTIONS)


@pytest.mark.parametrize("action", ["call", "use_secret"])
def test_a_forbid_on_either_wins(action: str) -> None:
    """A no to the agent alone, and a no to the device alone, denies the agent's call."""
    for text in (for_agent("forbid", action), for_device("forbid", action)):
        ruled = judged(ALL + text)
        assert (ruled.ruling, ruled.code) == (Ruling.DENY, "FORBIDDEN")
    # The device itself is not bound by what is said of its agent.
    assert judged(ALL + for_agent("forbid", action), who=CALLER).ruling is Ruling.PERMIT


def test_a_permit_for_the_agent_alone_does_not_exceed_its_device() -> None:
    """A device that may not call cannot by enrolling an agent that may; the message says why."""
    bot = agent_of(STRANGER)
    name = f'Agent::"{bot.name.id}"'
    text = "".join(
        f'permit (principal == {name}, action == Action::"{action}", resource);'
        for action in ACTIONS
    )
    ruled = judged(text, who=bot)
    assert (ruled.ruling, ruled.code) == (Ruling.DENY, "NOT_PERMITTED")
    assert "the agent's device" in ruled.message
    assert asked(ruled) == ["call", "call"]


def test_unattended_for_the_agent_alone_asks_a_human() -> None:
    """A call its device would be asked about is asked about, whatever the agent may."""
    text = USE + for_agent("permit", "call_unattended")
    assert judged(text).ruling is Ruling.ASK
    assert judged(text + for_device("permit", "call_unattended")).ruling is Ruling.PERMIT
    # And the other way round: what its device may do alone, an agent forbidden to may not.
    assert judged(ALL + for_agent("forbid", "call_unattended")).ruling is Ruling.ASK


def test_enough_approvals_is_asked_of_both() -> None:
    """A yes that would do for the agent does not, if it would not do for its device."""
    text = USE + for_device("forbid", "call_attended")
    assert judged(text, approvers=[APPROVER]).ruling is Ruling.ASK
    assert judged(USE, approvers=[APPROVER]).ruling is Ruling.PERMIT


def test_the_tier_is_no_weaker_than_either_may_have() -> None:
    """A tier that only the agent may run in is passed over."""
    assert judged(ALL + for_device("forbid", "run_in_process")).tier is Tier.CONTAINER
    assert judged(ALL + for_agent("forbid", "run_in_process")).tier is Tier.CONTAINER


@pytest.mark.parametrize(
    ("tools", "toolsets"),
    [((), ()), (("mild", "keye", "keyed_"), ()), (("keye",), ("builtin", "locals", "signed"))],
)
def test_an_undeclared_tool_is_refused_before_policy_is_asked(
    tools: tuple[str, ...], toolsets: tuple[str, ...]
) -> None:
    """What the manifest does not name is denied under an open permit; nothing named is nothing."""
    bot = agent_of(OWNER, tools=tools, toolsets=toolsets)
    ruled = judged("permit (principal, action, resource);", who=bot)
    assert (ruled.ruling, ruled.code) == (Ruling.DENY, "UNDECLARED_TOOL")
    assert asked(ruled) == []
    assert ruled.fix


@pytest.mark.parametrize(
    ("tools", "toolsets"), [(("keyed",), ()), ((), ("local",)), (("keyed",), ("builtin",))]
)
def test_a_tool_is_declared_by_name_or_by_toolset(
    tools: tuple[str, ...], toolsets: tuple[str, ...]
) -> None:
    """Either is enough."""
    assert judged(ALL, who=agent_of(CALLER, tools=tools, toolsets=toolsets)).code == "PERMITTED"


def test_an_undeclared_secret_is_refused() -> None:
    """A declared tool that gets a secret which the agent did not declare is denied."""
    for secrets in ((), ("secret://global/other",)):
        ruled = judged(ALL, who=agent_of(CALLER, secrets=secrets))
        assert (ruled.ruling, ruled.code) == (Ruling.DENY, "UNDECLARED_SECRET")
        assert SECRET in ruled.message


def test_declaring_grants_nothing() -> None:
    """A manifest is a bound: what policy does not permit stays denied."""
    assert judged("", who=agent_of(STRANGER, tools=["mild"]), tool="mild").code == "NOT_PERMITTED"


def test_an_agent_without_what_it_declared_declared_nothing() -> None:
    """An agent's principal that lost its manifest on the way is bounded to nothing."""
    assert judged(ALL, who=replace(BOT, agent=None)).code == "UNDECLARED_TOOL"


def test_a_revoked_agent_or_device_is_unknown() -> None:
    """Policy knows neither an agent that is gone nor one whose device is."""
    assert verdict(world(ALL), "keyed", BOT).code == "UNKNOWN_PRINCIPAL"
    orphan = world(ALL, devices=[OWNER], agents=[BOT])
    assert verdict(orphan, "keyed", BOT).code == "UNKNOWN_PRINCIPAL"


def test_who_may_approve_an_agents_call() -> None:
    """By default its own device may; with `unless` taken away it may not; an agent never may."""
    bot = agent_of(OWNER)
    everything = 'permit (principal, action == Action::"approve", resource);'
    scope = 'principal, action == Action::"approve", resource'
    never = f"forbid ({scope}) when {{ context.requester.device == principal }};"
    for text, who, expected in (
        ("", OWNER, True),
        (never, OWNER, False),
        (everything, bot, False),
        (everything, agent_of(CALLER), False),
        ("", APPROVER, True),
    ):
        within = world(text, agents=[bot, agent_of(CALLER)])
        asking = candidate("run_shell", bot, SHELL)
        ruled = verdict(within, "run_shell", bot, SHELL)
        assert ruled.ruling is Ruling.ASK
        assert may_approve(within, asking, ruled, NOW, who, 0).allowed is expected
