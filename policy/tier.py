"""Which tier a call runs in: from the floor upwards, the first that policy permits.

Trusted never to go below the floor and never to take anything but a plain yes for one. gVisor
is the top: it needs no question, so there is always an answer. Pure; raises nothing of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from policy.pdp import Decision
from policy.risk import Tier

QUESTIONS = {Tier.PROCESS: "run_in_process", Tier.CONTAINER: "run_in_container"}
_UPWARDS = sorted(QUESTIONS.items())


@dataclass(frozen=True, slots=True)
class TierChoice:
    """The tier, and every question asked on the way, with its answer."""

    tier: Tier
    asked: tuple[tuple[str, Decision], ...]


def choose_tier(floor: Tier, ask: Callable[[str], Decision]) -> TierChoice:
    """Asks for each tier below gVisor, weakest first, starting at the floor."""
    asked: list[tuple[str, Decision]] = []
    for tier, question in _UPWARDS:
        if tier < floor:
            continue
        decision = ask(question)
        asked.append((question, decision))
        if decision.allowed is True:
            return TierChoice(tier, tuple(asked))
    return TierChoice(Tier.GVISOR, tuple(asked))
