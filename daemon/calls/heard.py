"""What policy was told when a call was heard: recorded with the ruling, enough to hear it again.

Pure. The call itself, its risk and the policies are in the rest of the receipt; arguments are not.
"""

from dataclasses import dataclass
from typing import Any

from daemon.calls.standing import Standing
from daemon.world import KeptSnapshot
from policy.risk import Tier


@dataclass(frozen=True, slots=True)
class Heard:
    """What policy was told, as far as neither the call nor the rest of the verdict says it."""

    time_ms: int
    # The operator's time zone.
    zone: str
    maintenance: bool
    floor: Tier
    secrets: tuple[str, ...]
    # Devices; None where nobody's word was asked about.
    approvers: tuple[str, ...] | None
    # That were put to policy, in order.
    leases: tuple[Standing, ...]
    snapshot: KeptSnapshot

    def to_json(self) -> dict[str, Any]:
        """For a receipt."""
        approvers = {} if self.approvers is None else {"approvers": list(self.approvers)}
        leases = {"leases": [one.to_json() for one in self.leases]} if self.leases else {}
        return {
            "time_ms": self.time_ms,
            "zone": self.zone,
            "maintenance": self.maintenance,
            "floor": self.floor.label,
            "secrets": list(self.secrets),
            "entities": self.snapshot.digest,
            **approvers,
            **leases,
        }
