"""What may be put into what, and tagged with what: the bounds of an operator's entity data.

Trusted to refuse what would make a question endless or a name mean two things: cycles, depth, too
much of anything, ids outside their grammar, the toolsets that say where a tool came from, and two
spellings of one person.
Pure; leaves `EntityError` only.
"""

import re
from collections.abc import Iterable, Mapping

from policy.entities import PROVENANCES
from policy.errors import EntityError
from policy.identifiers import checked
from policy.values import EntityUid

MAX_MEMBERSHIPS = 10_000
MAX_PARENTS = 32  # of one entity
MAX_DEPTH = 8  # of groups in groups, toolsets in toolsets
MAX_TAGS = 10_000
MAX_TAGS_OF_ONE = 32
MAX_TAG_VALUE = 256

# A device's groups are set with the device.
PARENT_TYPE: Mapping[str, str] = {
    "Agent": "Group",
    "Group": "Group",
    "Tool": "Toolset",
    "Toolset": "Toolset",
}
TAGGED_TYPES = ("Agent", "Device", "Secret", "Tool", "Workspace")

PERSON = "person"
"""The tag that says whose a device is: those with one value count as one person."""

_TAG_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


def check_members(parents: Mapping[EntityUid, frozenset[EntityUid]]) -> None:
    """All of it, or `EntityError`."""
    for child, above in parents.items():
        for parent in sorted(above, key=str):
            _check_membership(child, parent)
        if len(above) > MAX_PARENTS:
            fix = f"at most {MAX_PARENTS} of one, {MAX_MEMBERSHIPS} in all"
            raise EntityError("TOO_MANY_ENTITIES", f"{child} is in {len(above)}", fix)
    if sum(map(len, parents.values())) > MAX_MEMBERSHIPS:
        raise EntityError("TOO_MANY_ENTITIES", "too many memberships", f"at most {MAX_MEMBERSHIPS}")
    levels: dict[EntityUid, int] = {}
    for child in sorted(parents, key=str):
        _levels(child, parents, (), levels)


def check_tags(tags: Mapping[EntityUid, Mapping[str, str]]) -> None:
    """All of them, or `EntityError`."""
    for uid, own in tags.items():
        if uid.type not in TAGGED_TYPES:
            raise EntityError(
                "BAD_TAG", f"a {uid.type} has no tags", f"tags are for {', '.join(TAGGED_TYPES)}"
            )
        checked(uid)
        if len(own) > MAX_TAGS_OF_ONE:
            fix = f"at most {MAX_TAGS_OF_ONE} of one, {MAX_TAGS} in all"
            raise EntityError("TOO_MANY_ENTITIES", f"{uid} has {len(own)} tags", fix)
        for key, value in own.items():
            _check_tag(key, value)
    if sum(map(len, tags.values())) > MAX_TAGS:
        raise EntityError("TOO_MANY_ENTITIES", "too many tags", f"at most {MAX_TAGS}")


def likeness(person: str) -> str:
    """What two spellings of one person have in common: neither case nor white space counts."""
    return "".join(person.casefold().split())


def check_people(named: Iterable[str], tags: Mapping[EntityUid, Mapping[str, str]]) -> None:
    """That none of the people just named is another spelling of one whom a tag names.

    Policies compare the tag by its exact text: with two spellings one person would be two, and
    answer for both.
    """
    spelled: dict[str, set[str]] = {}
    for own in tags.values():
        if PERSON in own:
            spelled.setdefault(likeness(own[PERSON]), set()).add(own[PERSON])
    for person in named:
        if person != " ".join(person.split()) or not person:
            fix = "leave out white space at its ends, and more than one space in a row"
            raise EntityError("BAD_TAG", f"{person!r:.80} is no {PERSON}'s name", fix)
        others = sorted(spelled.get(likeness(person), set()) - {person})
        if others:
            fix = f"write {others[0]!r:.80}, or change all of them in one request"
            raise EntityError("BAD_TAG", f"{person!r:.80} looks like {others[0]!r:.80}", fix)


def _check_membership(child: EntityUid, parent: EntityUid) -> None:
    if PARENT_TYPE.get(child.type) != parent.type:
        fix = "groups and agents are in groups, tools and toolsets in toolsets"
        raise EntityError("BAD_MEMBERSHIP", f"a {child.type} cannot be in a {parent.type}", fix)
    checked(child)
    checked(parent)
    if parent.type == "Toolset" and parent.id in PROVENANCES:
        # Where a tool comes from is a fact, and policies trust it as one.
        fix = "choose another name, and permit that toolset"
        raise EntityError("RESERVED_TOOLSET", f"nothing can be put into {parent}", fix)


def _levels(
    uid: EntityUid,
    parents: Mapping[EntityUid, frozenset[EntityUid]],
    below: tuple[EntityUid, ...],
    known: dict[EntityUid, int],
) -> int:
    """How many levels begin with this one. Each is visited once, and none below itself."""
    if uid in below:
        way = " in ".join(map(str, (*below[below.index(uid) :], uid)))
        raise EntityError("ENTITY_CYCLE", way, "nothing can be in itself: take one away first")
    if uid not in known and len(below) < MAX_DEPTH:
        above = sorted(parents.get(uid, ()), key=str)
        known[uid] = 1 + max((_levels(p, parents, (*below, uid), known) for p in above), default=0)
    # At the greatest depth one level more is too many, however many begin there.
    if len(below) + known.get(uid, 1) > MAX_DEPTH:
        fix = f"at most {MAX_DEPTH} levels, one within the other"
        raise EntityError(
            "ENTITIES_TOO_DEEP", f"{below[0]} is in more than {MAX_DEPTH} levels", fix
        )
    return known[uid]


def _check_tag(key: str, value: str) -> None:
    if not _TAG_KEY.fullmatch(key):
        raise EntityError(
            "BAD_TAG", f"{key!r:.80} is no tag's key", f"a key matches {_TAG_KEY.pattern}"
        )
    if not value.isascii() or not value.isprintable() or len(value) > MAX_TAG_VALUE:
        fix = f"at most {MAX_TAG_VALUE} printable ASCII characters"
        raise EntityError("BAD_TAG", f"the value of {key} is no tag's value", fix)
