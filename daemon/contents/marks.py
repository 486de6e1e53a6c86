"""What a tool's input schema marks as not to be kept: `writeOnly: true`.

Trusted to find every mark that could be about a value: a subschema counts whether or not the value
fits it, so of alternatives each one's marks hold. Only under `not` none does. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from daemon.tools.strict_json import JsonValue

Schemas = Sequence[Mapping[str, JsonValue]]
"""All subschemas that speak of one value, those that they are put together of included."""

_ONE = ("if", "then", "else")
_MANY = ("allOf", "anyOf", "oneOf")


def speaking_of(schemas: Iterable[JsonValue]) -> Schemas:
    """These, and what each of them is put together of."""
    found: list[Mapping[str, JsonValue]] = []
    wanted = list(schemas)
    while wanted:
        schema = wanted.pop()
        if not isinstance(schema, Mapping):
            continue
        found.append(schema)
        wanted += [schema[name] for name in _ONE if name in schema]
        for name in _MANY:
            wanted += _list(schema.get(name))
        wanted += _mapping(schema.get("dependentSchemas")).values()
    return found


def is_marked(schemas: Schemas) -> bool:
    """Whether one of them says that the value is not to be kept."""
    return any(schema.get("writeOnly") is True for schema in schemas)


def of_member(schemas: Schemas, name: str) -> Schemas:
    """What speaks of the member of that name."""
    return speaking_of(_of_member(schemas, name))


def of_item(schemas: Schemas, place: int) -> Schemas:
    """What speaks of the item in that place."""
    return speaking_of(_of_item(schemas, place))


def _of_member(schemas: Schemas, name: str) -> Iterator[JsonValue]:
    for schema in schemas:
        properties = _mapping(schema.get("properties"))
        if name in properties:
            yield properties[name]
        else:
            yield schema.get("additionalProperties")


def _of_item(schemas: Schemas, place: int) -> Iterator[JsonValue]:
    for schema in schemas:
        first = _list(schema.get("prefixItems"))
        yield first[place] if place < len(first) else schema.get("items")
        yield schema.get("contains")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, Mapping) else {}
