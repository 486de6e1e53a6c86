"""The principals of the connections there are: found once, remembered, forgotten at any change.

Trusted so that nothing remembered outlives what the registry says: every change of a device, an
agent or a certificate makes it forget all of them, before the change is told to anybody. What the
clock alone changes is not remembered: whoever asks looks at that again. Remembers so many and no
more, those asked for last. Raises what finding one raises; a refusal is not remembered.
"""

from collections import OrderedDict
from collections.abc import Callable

from daemon.principal import Principal

# A certificate and an origin each, some 1.5 kB.
MAX_REMEMBERED = 4096


class Connections:
    """See the module. `changes` counts the registry's changes: equal numbers, equal registry."""

    def __init__(
        self, find: Callable[[bytes, str], Principal], changes: Callable[[], tuple[int, ...]]
    ) -> None:
        self._find = find
        self._changes = changes
        self._at: tuple[int, ...] = ()
        self._principals: OrderedDict[tuple[bytes, str], Principal] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._principals)

    def principal(self, pem: bytes, origin: str) -> Principal:
        """The principal of the connection with that certificate, from there."""
        now = self._changes()
        if now != self._at:
            self._principals.clear()
            self._at = now
        connection = (pem, origin)
        found = self._principals.get(connection)
        if found is None:
            found = self._principals[connection] = self._find(pem, origin)
            if len(self._principals) > MAX_REMEMBERED:
                self._principals.popitem(last=False)
        else:
            self._principals.move_to_end(connection)
        return found
