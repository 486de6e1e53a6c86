"""What a person says on the command line of a lease: for how long, how often, in which bounds.

Pure but for the clock. Leaves `UsageError`. What comes of it is shown in words before it is signed.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stockade.approving import lease_for
from stockade.bounds import BoundError, parse_bounds
from stockade.cli.statement_view import labelled
from stockade.cli.terminal import UsageError, local_time, time_left
from stockade.lease import LeaseTerms
from stockade.masking import masked, masked_arguments, masked_bounds
from stockade.statement import Statement

_TIME = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FORMS = "NAME=any, =is:TEXT, =below:PATH, =one_of:A,B, =from:LOW:HIGH"


def seconds_of(text: str) -> int:
    """A time such as 90s, 30m, 8h or 2d."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r:.40} is no time", fix="say it like 30m, 8h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def bounds_of(texts: list[str], statement: Statement) -> dict[str, dict[str, Any]] | None:
    """The bounds as they were typed; None for none: the exact arguments."""
    return bounds_from(texts, statement.call.arguments)


def bounds_from(texts: list[str], arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The same beside these arguments, whose types their values have."""
    if not texts:
        return None
    bounds = {}
    for text in texts:
        name, equals, form = text.partition("=")
        if not equals or name in bounds:
            raise UsageError(f"{text!r:.80} is no bound, or the second of one", fix=FORMS)
        bounds[name] = _bound(form, arguments.get(name))
    try:
        parse_bounds(bounds)
    except BoundError as error:
        raise UsageError(str(error), fix=FORMS) from None
    return bounds


def lease_from(
    statement: Statement, lasts: str, uses: int, bounds: list[str], *, any_policy: bool
) -> LeaseTerms:
    """The lease that was asked for, about the call of the statement."""
    ends = int((time.time() + seconds_of(lasts)) * 1000)
    return lease_for(
        statement,
        expires_ms=ends,
        uses=uses,
        bounds=bounds_of(bounds, statement),
        tied=not any_policy,
    )


def meaning(
    terms: LeaseTerms, *, numbered: bool = False, unmasked: bool = False
) -> list[tuple[str, str]]:
    """A lease as a person reads it: all that it covers, as facts with their labels."""
    if not unmasked:
        terms = _masked(terms)
    until = f"{local_time(terms.expires_ms)} ({time_left(terms.expires_ms)})"
    *named, last = terms.meaning()
    if numbered:
        named = [f"{number} {text}" for number, text in enumerate(named, 1)]
    return [
        ("calls of", f"{terms.tool} by {terms.principal}, tier {terms.tier}"),
        *(("arguments" if not n else "", one) for n, one in enumerate((*named, last))),
        ("secrets", ", ".join(terms.secrets) or "none"),
        ("until", until),
        ("uses", f"{terms.uses} at most"),
        ("policy", f"only under {terms.policy_digest}" if terms.policy_digest else "any"),
        ("tool digest", terms.tool_digest),
    ]


def lines_of(terms: LeaseTerms, width: int, *, unmasked: bool = False) -> list[str]:
    """The same as lines, safe to show."""
    return [
        row.text
        for label, text in meaning(terms, unmasked=unmasked)
        for row in labelled(label, text if unmasked else masked(text), width)
    ]


def _masked(terms: LeaseTerms) -> LeaseTerms:
    """To be shown, never to be signed."""
    exactly = None if terms.exactly is None else masked_arguments(terms.exactly)
    bounds = None if terms.bounds is None else masked_bounds(terms.bounds)
    return replace(terms, exactly=exactly, bounds=bounds)


def _bound(form: str, given: object) -> dict[str, Any]:
    kind, _, rest = form.partition(":")
    if form == "any":
        return {"any": True}
    if kind == "is":
        return {"is": _typed(rest, given)}
    if kind == "below":
        return {"below": rest.rstrip("/")}
    if kind == "one_of":
        return {"one_of": rest.split(",")}
    if kind == "from":
        low, _, high = rest.partition(":")
        try:
            return {"from": int(low), "to": int(high)}
        except ValueError:
            raise UsageError(f"{rest!r:.40} is no range", fix=FORMS) from None
    raise UsageError(f"{form!r:.80} is no bound", fix=FORMS)


def _typed(text: str, given: object) -> object:
    """The text as a value of the type that the waiting call has there."""
    if isinstance(given, bool | int):
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return value if isinstance(value, bool | int) else text
    return text
