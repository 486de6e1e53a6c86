"""A context as the builders of `policy.contexts` make it: values that name their types; its form.

The form is what the engine's check of a request against the schema depends on: names and types,
never values. Contexts of one form therefore fit the schema together or not at all, and the engine
need be asked only once. Trusted so that contexts of equal forms have values of equal types. That
holds for values which name their own type, as the builders' do; Cedar also takes a text for a
decimal where the schema says so, and only the engine can know that.

A context may be cut down to what the policies look at: Cedar's answer depends on nothing else.
What was answered about one is kept with it, for the next question about this very context, and goes
with it.
Pure; `read` leaves ValueError for what is no value of Cedar's.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy.values import CedarValue, EntityUid

_MAX_NESTING = 32  # the arguments' own depth is capped far below
_I64 = range(-(2**63), 2**63)
_SCALARS = {str: "String", bool: "Bool"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a value."""

    form: Hashable
    uids: frozenset[EntityUid]
    """Every entity that it refers to."""


class Context(Mapping[str, CedarValue]):
    """Values by name, each naming its own type. Made in `policy.contexts` and nowhere else."""

    __slots__ = ("_forms", "_reading", "answers", "values_by_name")

    def __init__(
        self, values: Mapping[str, CedarValue], forms: Mapping[str, Hashable] | None = None
    ) -> None:
        """`forms` are those of some values that refer to no entity, known to whoever made them."""
        self.values_by_name = values
        self._forms = forms or {}
        # What is kept here is the decision point's (policy/pdp.py), and of a type of its own.
        self.answers: dict[Hashable, Any] = {}
        self._reading: Reading | None = None

    def __getitem__(self, name: str) -> CedarValue:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def only(
        self, names: frozenset[str] | None, clock: frozenset[str] | None = None
    ) -> dict[str, CedarValue]:
        """The values of these names, as far as there are any; all of them for None.

        Of the clock, which has many parts, only these.
        """
        if names is None:
            return dict(self.values_by_name)
        found = {name: value for name, value in self.values_by_name.items() if name in names}
        if clock is not None and isinstance(parts := found.get("clock"), dict):
            found["clock"] = {name: value for name, value in parts.items() if name in clock}
        return found

    @property
    def reading(self) -> Reading:
        """Its form and the entities it refers to, read once."""
        if self._reading is None:
            uids: set[EntityUid] = set()
            known = self._forms
            form = tuple(
                [
                    (name, known[name] if name in known else _form(value, uids, 0))
                    for name, value in self.values_by_name.items()
                ]
            )
            self._reading = Reading(form, frozenset(uids))
        return self._reading


def read(value: CedarValue) -> Reading:
    """The form of a value and the entities in it."""
    uids: set[EntityUid] = set()
    return Reading(_form(value, uids, 0), frozenset(uids))


def _form(value: CedarValue, uids: set[EntityUid], depth: int) -> Hashable:
    if (scalar := _SCALARS.get(type(value))) is not None:
        return scalar
    if isinstance(value, int):
        if value not in _I64:
            raise ValueError("an integer beyond 64 bits")
        return "Long"
    if depth > _MAX_NESTING:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        if len(value) == 1 and (escape := _form_of_escape(value, uids)) is not None:
            return escape
        return tuple(
            [
                # Most are scalars, for which a step down is most of the work.
                (name, _SCALARS.get(type(one)) or _form(one, uids, depth + 1))
                for name, one in value.items()
            ]
        )
    if isinstance(value, list):
        return frozenset([_form(item, uids, depth + 1) for item in value])
    raise ValueError(f"{type(value).__name__} is no type of Cedar's")


def _form_of_escape(record: dict[str, CedarValue], uids: set[EntityUid]) -> Hashable | None:
    match record:
        case {"__entity": {"type": str(type_name), "id": str(id_)}}:
            uids.add(EntityUid(type_name, id_))
            return ("__entity", type_name)
        case {"__extn": {"fn": str(function), "arg": str()}}:
            return ("__extn", function)
    return None
