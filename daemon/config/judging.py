"""What policy is told, how long people are waited for, and where stronger sandboxes begin."""

from datetime import UTC, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from daemon.config.section import Section


class Approvals(Section):
    """Waiting for people."""

    lifetime_seconds: int = Field(
        default=600,
        ge=5,
        le=7 * 86400,
        description="How long a call waits for a human before it expires.",
    )
    escalate_after_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 86400,
        description=(
            "After so long without an answer, caller and approvers are told who may answer by now"
            " (`context.waited` in policies). 0: never."
        ),
    )


class PolicySection(Section):
    """What policies are told, and when they are taken from the folder."""

    time_zone: str = Field(
        default="UTC",
        description=(
            "The zone of `context.clock` in policies, by its IANA name, as in `Europe/Vienna`."
        ),
    )
    watch: bool = Field(
        default=False,
        description=(
            "Apply the folder `policies/` whenever it changes. Whoever can write there then changes"
            " policy."
        ),
    )
    watch_quiet_seconds: float = Field(
        default=2,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="How long the folder has to be as it is before it is applied.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_of(name)
        return name


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r:.80}") from None


class Risk(Section):
    """Risk scores at which a stronger sandbox begins; scores run from 0 to 1."""

    container_floor: Decimal = Field(
        default=Decimal("0.3"),
        ge=0,
        le=1,
        strict=False,
        description="From here on, at least a container.",
    )
    gvisor_floor: Decimal = Field(
        default=Decimal("0.6"), ge=0, le=1, strict=False, description="From here on, gVisor."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Risk":
        if self.gvisor_floor < self.container_floor:
            raise ValueError("gvisor_floor must not be below container_floor")
        return self
