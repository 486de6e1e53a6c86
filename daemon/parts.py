"""What the served daemon is made of, before it serves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.alerts.telling import Alerts
from daemon.foundation import Foundation
from daemon.identity.devices import Devices
from daemon.policy.entities import Entities
from daemon.policy.policies import Policies
from daemon.policy.watched import Watched
from daemon.tiers import Tiers
from daemon.toolbox import Toolbox
from daemon.vault.composition import Vault
from daemon.workspaces import Workspaces
from daemon.worlds import Worlds

if TYPE_CHECKING:
    # What it is made of is only loaded where it is wanted.
    from daemon.metrics import Metrics
    from daemon.traces import Traces


@dataclass(frozen=True, slots=True)
class Parts:
    """See the module."""

    base: Foundation
    devices: Devices
    worlds: Worlds
    vault: Vault
    toolbox: Toolbox
    policies: Policies
    entities: Entities
    tiers: Tiers
    workspaces: Workspaces
    # Where the door out of the sandboxes is.
    egress: Path
    local_device: str
    # None where config.toml does not have the folder watched.
    watched: Watched | None
    alerts: Alerts
    # None where config.toml gives them no place to be read at.
    metrics: "Metrics | None" = None
    # None where it names no collector.
    traces: "Traces | None" = None
