"""The redacted copy of a call's arguments: what may be kept of them, and what was taken out where.

Trusted that the copy holds no value of the vault's in any form that the vault looks for
(`vault.forms`), in no leaf, in no key and across no two of them; nothing that looks like a secret
(`stockade.masking`), nothing under a name that says it is one, and nothing that the tool's schema
marks (`daemon.contents.marks`). Of arguments that do not fit a schema nothing but keys and types is
kept, since nobody has said what they are. What was taken out leaves a mark with its type, never
its length or a digest: of a short secret either is half of it. Pure; raises nothing.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from daemon.contents.marks import Schemas, is_marked, of_item, of_member, speaking_of
from daemon.tools.arguments import canonical_form
from daemon.tools.schema import pointer_to
from daemon.tools.strict_json import JsonValue
from stockade.masking import is_secret_name, replaced
from vault.redact import Redaction

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_HEADER_NAME = re.compile(r"(?i)(?:.*[_\-.])?(?:authorization|cookie)")

MAX_AT: Final = 256
"""Of a place so many characters are said: keys are the caller's, and receipts stay."""


class Why(StrEnum):
    """Why something was taken out. Values are in receipts: never renamed."""

    VAULT = "vault"  # it has a value of the vault's
    SHAPE = "shape"  # it looks like a secret
    NAME = "name"  # its name says that it is one
    SCHEMA = "schema"  # the tool's schema marks it
    UNFIT = "unfit"  # the arguments fit no schema
    WHOLE = "whole"  # the whole has a value of the vault's across several leaves
    LOCKED = "locked"  # it could not be asked what the vault's values are
    LONG = "long"  # of output: it is more than is kept, and the rest was not looked at
    ARGUMENTS = "arguments"  # of output: the tool was given what may not be kept


@dataclass(frozen=True, slots=True)
class Withheld:
    """Where something was taken out of the copy, and why."""

    at: str
    why: Why


@dataclass(frozen=True, slots=True)
class RedactedCopy:
    """What may be kept: canonical JSON; empty where nothing may."""

    canonical: bytes = field(repr=False)
    withheld: tuple[Withheld, ...]


def redacted_copy(
    arguments: Mapping[str, JsonValue],
    redaction: Redaction,
    schema: Mapping[str, JsonValue] | None,
    every: Why | None = None,
) -> RedactedCopy:
    """The copy of these arguments; of `every` leaf nothing is kept, if there is a reason for it."""
    reason = every or (Why.UNFIT if schema is None else None)
    for whole in (reason, reason or Why.WHOLE):
        walk = _Walk(redaction, whole)
        copy = walk.node("", dict(arguments), speaking_of([] if schema is None else [dict(schema)]))
        encoded = canonical_form(copy) if isinstance(copy, dict) else b"{}"
        if not _found_in(redaction, encoded):
            return RedactedCopy(encoded, tuple(walk.withheld))
    # Where the very marks and keys are somebody's secret, there is nothing that can be kept.
    return RedactedCopy(b"", (Withheld("", Why.WHOLE),))


def redacted_text(text: str, redaction: Redaction) -> str:
    """A text of ours that may quote an argument."""
    return _Walk(redaction, None).text("", text)


def found_in_output(data: bytes, redaction: Redaction) -> Why | None:
    """Why this, which a tool wrote, may not be kept; None where nothing in it says that."""
    if _found_in(redaction, data):
        return Why.VAULT
    walk = _Walk(redaction, None)
    text = data.decode("utf-8", "replace")
    walk.text("", text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        try:
            walk.node("", value, ())
        except RecursionError:
            return Why.UNFIT
    return walk.withheld[0].why if walk.withheld else None


def _found_in(redaction: Redaction, data: bytes) -> bool:
    return _redacted(redaction, data)[1] > 0


def _redacted(redaction: Redaction, data: bytes) -> tuple[bytes, int]:
    redactor = redaction.stream()
    shown = redactor.feed(data) + redactor.finish()
    return shown, redactor.count


@dataclass(slots=True)
class _Walk:
    """One way through the arguments."""

    redaction: Redaction
    every: Why | None
    withheld: list[Withheld] = field(default_factory=list)

    def node(self, at: str, value: JsonValue, schemas: Schemas, name: str = "") -> JsonValue:
        """A value as it is kept."""
        if is_marked(schemas):
            return self._out(at, value, Why.SCHEMA)
        named = is_secret_name(name) or _HEADER_NAME.fullmatch(name)
        if name and named and not isinstance(value, bool | None):
            return self._out(at, value, Why.NAME)
        if isinstance(value, dict):
            return self._members(at, value, schemas)
        if isinstance(value, list):
            items = enumerate(value)
            return [self.node(_below(at, i), v, of_item(schemas, i)) for i, v in items]
        return self._leaf(at, value)

    def _members(self, at: str, value: Mapping[str, JsonValue], schemas: Schemas) -> JsonValue:
        members: dict[str, JsonValue] = {}
        again = Counter[str]()  # a number for each: of ten thousand alike, signs would be quadratic
        for name, member in value.items():
            shown = kept = self._key(at, name)
            while shown in members:
                again[kept] += 1
                shown = f"{kept}'{again[kept]}"
            below = of_member(schemas, name)
            members[shown] = self.node(_below(at, shown), member, below, name)
        return members

    def _key(self, at: str, name: str) -> str:
        before = len(self.withheld)
        shown = self.text(at, name)
        if len(self.withheld) > before:
            why = self.withheld[before].why
            del self.withheld[before:]
            self.withheld.append(Withheld(_below(at, shown), why))
        return shown

    def _leaf(self, at: str, value: JsonValue) -> JsonValue:
        if self.every is not None and value is not None:
            return self._out(at, value, self.every)
        if isinstance(value, str):
            return self.text(at, value)
        if isinstance(value, bool) or value is None:
            return value
        # A value of the vault's may be all digits.
        return value if self._plain(json.dumps(value)) else self._out(at, value, Why.VAULT)

    def text(self, at: str, text: str) -> str:
        """A text without what the vault has, and without what looks like a secret."""
        shown, count = _redacted(self.redaction, text.encode("utf-8", "surrogatepass"))
        if count:
            text = shown.decode("utf-8", "replace")
            self.withheld.append(Withheld(at, Why.VAULT))
        shape = mark("string", Why.SHAPE)
        shaped = replaced(_PRIVATE_KEY.sub(shape, text), lambda _: shape)
        if shaped != text:
            self.withheld.append(Withheld(at, Why.SHAPE))
        return shaped

    def _plain(self, text: str) -> bool:
        return not _found_in(self.redaction, text.encode())

    def _out(self, at: str, value: JsonValue, why: Why) -> str:
        self.withheld.append(Withheld(at, why))
        return mark(_type_of(value), why)


def _below(at: str, step: str | int) -> str:
    return pointer_to(at, step)[:MAX_AT]


def mark(kind: str, why: Why) -> str:
    """What stands for something that was taken out."""
    return f"[redacted {kind}: {why}]"


def _type_of(value: JsonValue) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"
