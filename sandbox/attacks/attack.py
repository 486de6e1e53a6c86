"""What an attack is, how one is run, and what is said of it. Values only."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from sandbox.outcome import Outcome
from sandbox.spec import Mount

if TYPE_CHECKING:
    from sandbox.attacks.stage import Stage


MAX_SAID = 160


class Verdict(Enum):
    """What a pair of runs shows. Only the first is a control that holds."""

    HELD = "held"
    NOT_HELD = "not held"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Inside:
    """A program run in the tier: the attack, or its control with one grant more."""

    program: str  # "group.function" of `programs`
    given: Mapping[str, object] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)


How = Literal["user", "namespaces", "most"]


@dataclass(frozen=True, slots=True)
class Outside:
    """The same program on the host: the control where no single grant would undo the sandbox.

    As the user that tools run as; or as that user with every capability over namespaces of its
    own; or with the most that the daemon itself has, which is root's only if it is root.
    """

    program: str
    given: Mapping[str, object] = field(default_factory=dict)
    how: How = "user"
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one run. `overran` says that it did not end by itself in its time."""

    began: bool
    out: str = field(repr=False)
    overran: bool = False
    outcome: Outcome | None = None

    @property
    def said(self) -> str:
        """Its last words, in one line of printable ASCII."""
        words = (self.out.splitlines() or [""])[-1][:MAX_SAID]
        return ascii(words)[1:-1]


Effect = Callable[[Seen], Awaitable[str]]
"""Looks for the effect after a run: what shows it, or nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An attack and its control, both run, and what showed the effect of each."""

    attack: Seen
    attack_effect: str
    control: Seen
    control_effect: str


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the battery. `stage` runs the pair; `grant` is what the control has more."""

    name: str
    aim: str
    grant: str
    stage: "Callable[[Stage], Awaitable[Pair]]"


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of an attack."""

    name: str
    aim: str
    tier: str
    verdict: Verdict
    attack: str
    grant: str
    control: str


def row(attack: Attack, tier: str, pair: Pair) -> Row:
    """The verdict on a pair."""
    if pair.attack_effect:
        verdict = Verdict.NOT_HELD
    elif not pair.attack.began or not pair.control_effect:
        # A program that never ran, or that fails with the grant too, proves nothing.
        verdict = Verdict.UNPROVEN
    else:
        verdict = Verdict.HELD
    return Row(
        attack.name,
        attack.aim,
        tier,
        verdict,
        pair.attack_effect or _ended(pair.attack),
        attack.grant,
        pair.control_effect or f"no effect: {_ended(pair.control)}",
    )


def failed(attack: Attack, tier: str, why: str) -> Row:
    """The row of an attack that could not be staged."""
    return Row(attack.name, attack.aim, tier, Verdict.UNPROVEN, why, attack.grant, "not run")


def _ended(seen: Seen) -> str:
    """What to say of a run without an effect."""
    limit = seen.outcome.limit if seen.outcome else None
    signal = seen.outcome.signal if seen.outcome else None
    if limit is not None:
        return f"ended by the limit of {limit.value}"
    if signal is not None:
        return f"killed by signal {signal}"
    return seen.said or ("it did not end" if seen.overran else "it said nothing")
