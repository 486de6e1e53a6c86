"""The risk score of a call and the tier floor it sets. Pure.

    score = min(1, 0.4 data_sensitivity + 0.3 (1 - code_trust)
                   + 0.1 network + 0.1 filesystem_write + 0.1 external_apis)

Trusted to be exact at the boundaries and monotone in every input: decimal arithmetic throughout,
no float. Refuses an input that is no number from 0 to 1 (NaN, infinities, True for 1.0), with
`RiskError`; a refused input means the call is refused, never a default score.
"""

import enum
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache

from policy.errors import RiskError

_PLACES = 4  # of an input; as many as a Cedar decimal has
_UNIT = Decimal(1).scaleb(-_PLACES)
_ZERO, _ONE = Decimal(0), Decimal(1)


class Tier(enum.IntEnum):
    """How strong a sandbox is; greater is stronger."""

    PROCESS = 1
    CONTAINER = 2
    GVISOR = 3

    @property
    def label(self) -> str:
        """The tier's name, as in receipts, policies and messages."""
        return self.name.lower()

    @classmethod
    def parse_label(cls, label: str) -> "Tier":
        """The tier of that name; `RiskError` for any other text, also in another case."""
        for tier in cls:
            if tier.label == label:
                return tier
        raise RiskError(
            "BAD_TIER", f"there is no tier {label!r}", 'use "process", "container" or "gvisor"'
        )


def parse_unit(value: object, name: str) -> Decimal:
    """A number from 0 to 1 with at most four decimal places, exactly.

    Takes Decimal, int and float (by its shortest repr, so 0.3 means 0.3). A bool is refused: True
    where a number belongs is a mistake upstream, and as 1 it would read as full trust.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float):
        raise _bad(name, value, "is not a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise _bad(name, value, "is not finite")
    if not _ZERO <= number <= _ONE:
        raise _bad(name, value, "is not between 0 and 1")
    if number != number.quantize(_UNIT):
        raise _bad(name, value, f"has more than {_PLACES} decimal places")
    return number.quantize(_UNIT)


@dataclass(frozen=True, slots=True)
class RiskInputs:
    """What the score is made of. Numbers are stored as exact decimals, flags as bools."""

    data_sensitivity: Decimal
    code_trust: Decimal
    network: bool
    filesystem_write: bool
    external_apis: bool

    def __post_init__(self) -> None:
        for name in ("data_sensitivity", "code_trust"):
            object.__setattr__(self, name, parse_unit(getattr(self, name), name))
        for name in ("network", "filesystem_write", "external_apis"):
            if not isinstance(getattr(self, name), bool):
                raise _bad(name, getattr(self, name), "is neither true nor false")

    def to_json(self) -> dict[str, str | bool]:
        """For a receipt: no floats, decimals as text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v if isinstance(v, bool) else format(v, "f") for k, v in values.items()}


@lru_cache(maxsize=1024)  # there are as many as tools
def score(inputs: RiskInputs) -> Decimal:
    """The risk, from 0 to 1, rounded up to four places (Cedar's decimal): never understated."""
    flags = inputs.network + inputs.filesystem_write + inputs.external_apis
    # In units of 0.00001 (weight x input) this is integer arithmetic, so nothing is lost.
    hundred_thousandths = (
        4 * int(inputs.data_sensitivity.scaleb(_PLACES))
        + 3 * int((_ONE - inputs.code_trust).scaleb(_PLACES))
        + flags * 10**_PLACES
    )
    units = min(-(-hundred_thousandths // 10), 10**_PLACES)
    return Decimal(units).scaleb(-_PLACES)


def to_text(risk: Decimal) -> str:
    """The score as a receipt carries it: four decimal places, no float ("0.3500")."""
    return format(parse_unit(risk, "risk"), "f")


@dataclass(frozen=True, slots=True)
class Floors:
    """From which score on a tier is the least: below `container` a process will do."""

    container: Decimal = Decimal("0.3")
    gvisor: Decimal = Decimal("0.6")

    def __post_init__(self) -> None:
        object.__setattr__(self, "container", parse_unit(self.container, "floors.container"))
        object.__setattr__(self, "gvisor", parse_unit(self.gvisor, "floors.gvisor"))
        if self.container > self.gvisor:
            raise RiskError(
                "BAD_FLOORS",
                f"the container floor {self.container} is above the gvisor floor {self.gvisor}",
                "order the floors: container at or below gvisor",
            )


def tier_floor(risk: Decimal, floors: Floors) -> Tier:
    """The weakest tier a call of this risk may have."""
    risk = parse_unit(risk, "risk")
    if risk < floors.container:
        return Tier.PROCESS
    return Tier.CONTAINER if risk < floors.gvisor else Tier.GVISOR


def _bad(name: str, value: object, why: str) -> RiskError:
    return RiskError(
        "BAD_RISK_INPUT", f"{name}: {value!r} {why}", f"give {name} as a number from 0 to 1"
    )
