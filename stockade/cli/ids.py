"""Ids shortened to what tells them apart, and found again by a unique prefix.

A short id is a convenience for people; what is sent is always the whole one. Raises
`StockadeError`.
"""

from collections.abc import Callable, Collection, Iterable

from stockade.errors import BadRequest, NotFound

WHOLE = 36  # a UUID in its text form
SHORTEST = 13  # of a UUIDv7: its millisecond


def shortened(ids: Collection[str]) -> dict[str, str]:
    """Each id's shortest prefix that no other of them has."""
    length = SHORTEST
    while length < WHOLE and len({one[:length] for one in ids}) < len(set(ids)):
        length += 1
    return {one: one[:length] for one in ids}


def resolve(text: str, what: str, known: Callable[[], Iterable[str]]) -> str:
    """The whole id that begins with `text`. `known` is asked only for a shortened one."""
    text = text.strip().lower()
    if len(text) >= WHOLE:
        return text
    found = sorted({one for one in known() if text and one.startswith(text)})
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(
            f"no {what} begins with {text!r}",
            reason=f"UNKNOWN_{what.upper()}",
            fix=f"`stockade {what}s list` shows them",
        )
    raise BadRequest(
        f"{len(found)} {what}s begin with {text!r}",
        reason="AMBIGUOUS_ID",
        fix="give more of the id: " + ", ".join(found[:3]),
    )
