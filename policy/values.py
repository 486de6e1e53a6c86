"""Python values as Cedar JSON, exactly or not at all.

Trusted to produce nothing but what its name says: extension values are written with Cedar's
explicit escapes, so no string of a caller can become one. Refuses whatever would be rounded.
Leaves `EntityError` only.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from policy.errors import EntityError

CedarValue = object
"""What `json.dumps` takes: Cedar's JSON form is checked by Cedar itself, against the schema."""

_DECIMAL_UNIT = Decimal("0.0001")  # Cedar's decimal has four places
_DECIMAL_LIMIT = Decimal(2**63 - 1) * _DECIMAL_UNIT


class EntityUid(NamedTuple):
    """A reference to an entity: its type and its id. Says nothing about whether it exists."""

    type: str
    id: str

    def __str__(self) -> str:
        return f'{self.type}::"{self.id}"'

    def to_json(self) -> dict[str, str]:
        """The form Cedar takes for the principal, action and resource of a request."""
        return {"type": self.type, "id": self.id}


def parse_uid(value: object) -> EntityUid:
    """The inverse of `EntityUid.to_json`; ValueError for anything else."""
    match value:
        case {"type": str(type_name), "id": str(id_)}:
            return EntityUid(type_name, id_)
    raise ValueError("an entity is written as its type and its id, both text")


def entity_value(uid: EntityUid) -> dict[str, CedarValue]:
    """A reference to an entity, as an attribute's value."""
    return {"__entity": uid.to_json()}


def decimal_value(value: Decimal) -> dict[str, CedarValue]:
    """A Cedar decimal. Refuses what four decimal places cannot hold exactly."""
    if not value.is_finite() or abs(value) > _DECIMAL_LIMIT:
        raise EntityError(
            "BAD_DECIMAL", f"{value} is no Cedar decimal", "give a finite number of normal size"
        )
    fixed = value.quantize(_DECIMAL_UNIT)
    if fixed != value:
        raise EntityError(
            "BAD_DECIMAL", f"{value} has more than four decimal places", "round it deliberately"
        )
    return {"__extn": {"fn": "decimal", "arg": format(fixed, "f")}}


def datetime_value(moment: datetime) -> dict[str, CedarValue]:
    """A Cedar datetime (UTC, to the millisecond). Refuses a time without a zone."""
    if moment.tzinfo is None:
        raise EntityError("BAD_TIME", "a time without a zone", "give an aware datetime")
    try:
        text = datetime_text(moment)
    except OverflowError:
        raise EntityError("BAD_TIME", "a time out of range", "check the clock") from None
    return {"__extn": {"fn": "datetime", "arg": text}}


def datetime_text(moment: datetime) -> str:
    """An aware time as Cedar's `datetime` takes it; OverflowError for one out of range."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
