"""A schema with the declarations alone that can matter to policies of one action.

The engine validates a policy against every action of the schema, though its scope may name one:
that is nine tenths of what validating costs. For an action that the scope rules out, the scope is
false and nothing behind it is looked at, so leaving the action out of the schema changes no yes.
Trusted to leave out nothing but whole declarations of actions, and only of other actions. A no
found this way is nobody's answer: what a policy's conditions name may be what was left out.
Raises nothing; where a schema is not understood, there is none narrower.
"""

import re

import cedarpy

from policy.schema import Schema

# What begins something in which nothing counts, and what a declaration is made of.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n\r]*|[{}();]', re.DOTALL)
_BETWEEN = r"(?>\s+|//[^\n\r]*)*+"  # never tried in another way: that would take for ever
_PLAIN = re.compile(rf"{_BETWEEN}(?:entity|type|action)\s")
_ACTION = re.compile(
    rf"{_BETWEEN}action\s+([A-Za-z_]\w*+(?:\s*+,\s*+[A-Za-z_]\w*+)*+)\s++(?:in\b|appliesTo\b)"
)


class Narrowed:
    """The narrower forms of one schema, each made once."""

    def __init__(self, schema: Schema) -> None:
        self._declarations = _declarations(schema.text)
        self._made: dict[str, cedarpy.Schema | None] = {}

    def to(self, action: str) -> cedarpy.Schema | None:
        """For policies whose scope is `action ==` this one; None if there is no narrower form."""
        if action not in self._made:
            self._made[action] = self._make(action)
        return self._made[action]

    def _make(self, action: str) -> cedarpy.Schema | None:
        kept, found = [], False
        for text, names in self._declarations:
            found |= action in names
            if not names or action in names:
                kept.append(text)
        if not found:
            return None
        try:
            return cedarpy.Schema.from_str("".join(kept), release_gil=True)
        except ValueError:
            return None  # an action is in one that was left out


def _declarations(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each declaration; of actions that can be asked about, with their names."""
    found: list[tuple[str, tuple[str, ...]]] = []
    depth = start = 0
    for match in _TOKEN.finditer(text):
        lexeme = match.group()
        if lexeme in ("{", "("):
            depth += 1
        elif lexeme in ("}", ")"):
            depth -= 1
        elif lexeme == ";" and depth == 0:
            found.append(_named(text[start : match.end()]))
            start = match.end()
    if not all(_PLAIN.match(one) for one, _ in found):
        return []  # namespaces, annotations: of no schema of the daemon's
    return [*found, (text[start:], ())]


def _named(declaration: str) -> tuple[str, tuple[str, ...]]:
    match = _ACTION.match(declaration)
    if match is None or "appliesTo" not in declaration:
        return declaration, ()
    return declaration, tuple(name.strip() for name in match[1].split(","))
