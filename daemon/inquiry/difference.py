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
from policy.fallible import can_fail
from policy.reading import read_policy
from policy.statements import PolicyRef

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

    @property
    def effect(self) -> str:
        return read_policy(self.text).effect


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
    for ref, text in zip(bundle.policies, bundle.texts, strict=True):
        key = ref.id
        if "#" in ref.id:
            seen[text] += 1
            key = f"#{seen[text]} {text}"
        found[key] = _Policy(ref, text)
    return found


def _change(old: _Policy | None, new: _Policy | None) -> Change | None:
    if new is None:
        return None if old is None else _changed(REMOVED, old, old, None)
    if old is None:
        return _changed(ADDED, new, None, new)
    if old.text != new.text:
        return _changed(CHANGED, new, old, new)
    if (old.ref.file, old.ref.line) == (new.ref.file, new.ref.line):
        return None
    return Change(MOVED, new.ref.id, new.effect, old.ref, new.ref, False)


def _changed(what: str, about: _Policy, old: _Policy | None, new: _Policy | None) -> Change:
    more = any(_reasons(old, new))
    before, after = (None if one is None else one.ref for one in (old, new))
    return Change(what, about.ref.id, about.effect, before, after, more)


def _reasons(old: _Policy | None, new: _Policy | None) -> Iterator[bool]:
    yield new is not None and new.effect == "permit"
    yield old is not None and old.effect == "forbid"
    yield old is not None and can_fail(old.text)


def _place(change: Change) -> tuple[str, int, str]:
    ref = change.after or change.before
    return (ref.file, ref.line, change.id) if ref else ("", 0, change.id)
