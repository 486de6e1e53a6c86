"""How deep something is nested, found without recursing: the engine recurses.

Text nested some hundreds of levels deep ends the process with a stack overflow that no handler can
catch. Policies of the daemon's own have far tighter bounds (`policy.statements`); these are for
text that is only looked at: schemas, and whatever is put on the bench. Trusted never to say less
than there is: in doubt a bracket counts. Pure; raises nothing.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

# The engine takes 500 levels, and 4,000 operators in a row, with a stack of 8 MiB.
MAX_LEVELS = 200
MAX_OPERATORS = 2000
# Of entities in entities it takes 4,000.
MAX_ANCESTRY = 1000

_SKIPPED = r"""(?P<skip>"(?:[^"\\]|\\[^\n])*"|//[^\n\r]*)"""
_POLICY = re.compile(
    _SKIPPED
    + r"|[;(){}\[\]+\-*.!]|&&|\|\|"
    + r"|(?<![A-Za-z_])(?:if|has|like|is|in|when|unless)(?![A-Za-z0-9_])",
    re.DOTALL | re.ASCII,
)
_SCHEMA = re.compile(_SKIPPED + r"|[;(){}\[\]<>]", re.DOTALL)
_DEEPER, _SHALLOWER = frozenset("([{<"), frozenset(")]}>")


def policies_too_deep(text: str) -> bool:
    """Whether one of the policies is nested deeper, or has more operators, than it may be."""
    return _beyond(_POLICY, text)


def schema_too_deep(text: str) -> bool:
    """The same of the declarations of a schema."""
    return _beyond(_SCHEMA, text)


def _beyond(tokens: re.Pattern[str], text: str) -> bool:
    levels = operators = 0
    for match in tokens.finditer(text):
        if match["skip"] is not None:
            continue
        lexeme = match.group()
        if lexeme == ";":
            levels = operators = 0
        elif lexeme in _DEEPER:
            levels += 1
        elif lexeme in _SHALLOWER:
            levels = max(0, levels - 1)
        else:
            operators += 1
        if levels > MAX_LEVELS or operators > MAX_OPERATORS:
            return True
    return False


def entities_too_deep(text: str) -> bool:
    """Whether entities, as Cedar's JSON has them, are in one another over more levels than may be.

    What is not in that form, and what is in itself, is for the engine to refuse.
    """
    below: defaultdict[str, list[str]] = defaultdict(list)
    above: Counter[str] = Counter()
    for child, parent in _memberships(text):
        below[parent].append(child)
        above[child] += 1
    # Whoever is in nobody, then whoever is in those alone, and so on.
    level = [parent for parent in below if not above[parent]]
    for _ in range(MAX_ANCESTRY):
        reached: list[str] = []
        for parent in level:
            for child in below[parent]:
                above[child] -= 1
                if not above[child]:
                    reached.append(child)
        level = reached
    return bool(level)


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    try:
        entities = json.loads(text)
        for one in entities:
            for parent in one.get("parents", ()):
                yield _name(one["uid"]), _name(parent)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return


def _name(uid: object) -> str:
    """One text for an entity, in either of the ways in which Cedar's JSON writes it."""
    if isinstance(uid, dict):
        uid = uid.get("__entity", uid)
        if isinstance(uid, dict):
            return json.dumps([uid["type"], uid["id"]])
    raise TypeError
