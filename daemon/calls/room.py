"""Room for open calls, shared by devices: none has more than three quarters of what others leave.

So however much one asks for, and leaves waiting for people, there is room for whoever comes next; a
device's agents count as their device (docs/adr/0038). The first call of a device may be as large as
all that is free. Pure; raises nothing.
"""

from collections import Counter


class Room:
    """So much of something, and who has how much of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Counter[str] = Counter()
        self._total = 0

    def has(self, device: str, amount: int) -> bool:
        """Whether so much more is free for that device."""
        own = self._of[device]
        if self._total + amount > self._most:
            return False
        return own == 0 or 4 * (own + amount) <= 3 * (self._most - (self._total - own))

    def take(self, device: str, amount: int) -> None:
        """It has so much more."""
        self._of[device] += amount
        self._total += amount

    def give_back(self, device: str, amount: int) -> None:
        """And so much less."""
        self._of[device] -= amount
        self._total -= amount
        if not self._of[device]:
            del self._of[device]
