"""When a run gives way to others on a busy processor, and when no longer (`sandbox.cgroup_weight`).

Once it has had its share it gives way, and once its end has come it does so no more: an end that
waits for others is late. Trusted that both happen once, and in this order. Raises nothing.
"""

from sandbox.cgroup import RunGroup


class GivingWay:
    """Of one run. It has its share after so many seconds of processor time."""

    def __init__(self, group: RunGroup, after_seconds: float) -> None:
        self._group, self._after = group, after_seconds
        self._gave = self._ends = False

    def look(self, cpu_seconds: float | None) -> None:
        """So much it has used, as far as that is known."""
        if not (self._gave or self._ends) and (cpu_seconds or 0.0) >= self._after:
            self._gave = True
            self._group.give_way()

    def end(self) -> None:
        """What is left of it is to come to its end."""
        if self._gave and not self._ends:
            self._group.hasten()
        self._ends = True
