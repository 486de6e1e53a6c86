"""When a run gives way and when no longer: laws for whatever order looks and ends come in."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.cgroup import NoGroup
from sandbox.giving_way import GivingWay

AFTER = 0.1


class Told(NoGroup):
    """A group that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def give_way(self) -> None:
        self.told.append("gives way")

    def hasten(self) -> None:
        self.told.append("hastens")


@given(st.lists(st.none() | st.sampled_from(["end"]) | st.floats(0, 1)))
def test_it_gives_way_once_and_never_after_its_end(steps: list[float | str | None]) -> None:
    """A limit kills between two looks: the next one must not slow down its end again."""
    group = Told()
    giving = GivingWay(group, AFTER)
    for step in steps:
        if isinstance(step, str):
            giving.end()
        else:
            giving.look(step)
    ended = steps.index("end") if "end" in steps else len(steps)
    before = [step for step in steps[:ended] if isinstance(step, float)]
    gave = any(step >= AFTER for step in before)
    assert group.told == ["gives way", "hastens"][: gave + (gave and "end" in steps)]
