"""The engine's answers about two parts of a set of policies, as its answer about the whole.

The engine looks at each policy by itself; only then does it put together what it found: any forbid
that is satisfied denies, else any permit allows, and whatever was in error is named beside. So the
answers about two parts that share no policy are enough to know the one about both, whichever way
the set was parted. Of parts in which a forbid was satisfied the permits are not named, and need
not be. Pure; raises nothing.
"""

from typing import NamedTuple

import cedarpy

_ALLOW, _DENY = cedarpy.Decision.Allow, cedarpy.Decision.Deny


class Found(NamedTuple):
    """What the engine says of some policies, which are called by their places in the set."""

    decision: cedarpy.Decision
    numbers: tuple[int, ...]
    """Of those that determined it, in the order of the set."""
    errors: tuple[str, ...]

    @property
    def is_silent(self) -> bool:
        """Whether none of them was satisfied, nor in error."""
        return self.decision is _DENY and not self.numbers and not self.errors


def joined(one: Found, other: Found) -> Found:
    """What the engine would say of all of them together."""
    if one.is_silent:
        return other
    if other.is_silent:
        return one
    for found in (one, other):
        if found.decision not in (_ALLOW, _DENY):
            return found  # the question could not be asked, about whatever policies
    errors = tuple(sorted(one.errors + other.errors))
    forbidding = [found for found in (one, other) if found.decision is _DENY and found.numbers]
    speaking = forbidding or [one, other]
    numbers = tuple(sorted(number for found in speaking for number in found.numbers))
    return Found(_ALLOW if numbers and not forbidding else _DENY, numbers, errors)
