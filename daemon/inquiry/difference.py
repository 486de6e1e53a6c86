"""What differs between two policy sets, policy by policy, and through what more could be permitted.

Trusted with one claim: whatever the second set permits and the first does not, at equal schema and
entities, it permits because of a change that is marked. Cedar permits where a permit matches and no
forbid does, and this daemon says no where any policy is in error; so only a permit that is new or
changed, a forbid that is gone or changed, and a policy that can be in error and is gone or changed
can do that. Pure; raises nothing for sets that were admitted.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from policy.bundle import Bundle
from policy.statements import PolicyRef
from policy.usage import can_err, effect_of, statements

ADDED, REMOVED, CHANGED, MOVED = "added", "removed", "changed", "moved"


@dataclass(frozen=True, slots=True)
class Change:
    """One policy that is not as it was."""

    what: str
    id: str
    effect: str
    before: PolicyRef | None
    after: PolicyRef | None
    may_permit_more: bool


@dataclass(frozen=True, slots=True)
class _Policy:
    ref: PolicyRef
    text: str


def compare(before: Bundle, after: Bundle) -> tuple[Change, ...]:
    """Every change from the one to the other, in the order of their places."""
    old, new = _by_key(before), _by_key(after)
    changes = [_change(old.get(key), new.get(key)) for key in {**old, **new}]
    found = [change for change in changes if change is not None]
    return tuple(sorted(found, key=_place))


def _by_key(bundle: Bundle) -> dict[str, _Policy]:
    """By id; one without an id of its own by its text, wherever it stands."""
    found: dict[str, _Policy] = {}
    seen: Counter[str] = Counter()
    for ref, statement in statements(bundle):
        key = ref.id
        if "#" in ref.id:
            seen[statement.text] += 1
            key = f"#{seen[statement.text]} {statement.text}"
        found[key] = _Policy(ref, statement.text)
    return found


def _change(old: _Policy | None, new: _Policy | None) -> Change | None:
    if old is None and new is None:
        return None
    if old is not None and new is not None and old.text == new.text:
        if (old.ref.file, old.ref.line) == (new.ref.file, new.ref.line):
            return None
        return Change(MOVED, new.ref.id, effect_of(new.text), old.ref, new.ref, False)
    more = any(_reasons(old, new))
    if new is None:
        assert old is not None  # noqa: S101 - one of the two is there
        return Change(REMOVED, old.ref.id, effect_of(old.text), old.ref, None, more)
    what = ADDED if old is None else CHANGED
    place = None if old is None else old.ref
    return Change(what, new.ref.id, effect_of(new.text), place, new.ref, more)


def _reasons(old: _Policy | None, new: _Policy | None) -> Iterator[bool]:
    yield new is not None and effect_of(new.text) == "permit"
    yield old is not None and effect_of(old.text) == "forbid"
    yield old is not None and can_err(old.text)


def _place(change: Change) -> tuple[str, int, str]:
    ref = change.after or change.before
    return (ref.file, ref.line, change.id) if ref else ("", 0, change.id)
