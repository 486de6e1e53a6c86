"""Which root keys the database says secrets are sealed under, and where each of them is.

One row of `meta`, changed together with its receipt. The configuration pins the kind of place; this
says which place of that kind, and which key is in it: a place that holds another key is not taken
for it. While one root takes over from another both are here, so that a daemon that was killed
between any two steps finds everything it needs. Pure.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, get_args

META_KEY: Final = "vault.root"
RootKind = Literal["keychain", "file", "credential", "passphrase", "token"]
KINDS: Final[tuple[str, ...]] = get_args(RootKind)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a root key is: the kind of place, and which of that kind (empty: the first one)."""

    kind: RootKind
    label: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A root key in its place."""

    place: Place
    key_id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says."""

    current: Held
    # The one that takes over: first only where it will be made, then also which it is.
    next: Place | None = None
    next_id: str = ""
    # Where roots were that nothing is sealed under any more, until they are removed.
    retired: tuple[Place, ...] = ()
    # The configuration names the kind of the root before, until it is written anew.
    repin: bool = False

    def coming(self) -> Held | None:
        """The root that takes over, once it is known which it is."""
        return Held(self.next, self.next_id) if self.next is not None and self.next_id else None

    def taken_over(self, by: Held) -> "Standing":
        """That root is the current one."""
        return Standing(
            current=by,
            retired=(*self.retired, self.current.place),
            repin=by.place.kind != self.current.place.kind,
        )

    def settled(self) -> "Standing":
        """Nothing is left to be done."""
        return replace(self, next=None, next_id="", retired=(), repin=False)

    def encode(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, text: str | None) -> "Standing | None":
        """From what is stored; None where no root was ever recorded."""
        if text is None:
            return None
        stored: dict[str, Any] = json.loads(text)
        current = stored["current"]
        return cls(
            current=Held(Place(**current["place"]), current["key_id"]),
            next=Place(**stored["next"]) if stored["next"] else None,
            next_id=stored["next_id"],
            retired=tuple(Place(**place) for place in stored["retired"]),
            repin=stored["repin"],
        )
