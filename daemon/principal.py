"""Who is on the other end: the one value every decision and every receipt is about.

Made by `daemon.identity.devices` from the verified certificate of the connection and from nothing
else.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from daemon.identity.agent_manifest import Declared
from identity.names import PrincipalName


@dataclass(frozen=True, slots=True)
class Agent:
    """What an agent is besides its device: what it was enrolled as, and what it declared."""

    agent_id: str
    name: str
    manifest_digest: str
    declared: Declared = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """A device or an agent of one, as its certificate and the registry say."""

    name: PrincipalName
    # The device that answers for it: itself, for a device.
    device_id: str
    device_name: str
    # Of a device. An agent has none of its own: policy finds its device's through the device.
    groups: frozenset[str]
    serial: str
    certificate: bytes
    not_after_ms: int
    # Fingerprint of the certified key, and the name of the authority that certified it.
    key: str
    issuer: str
    # Address of the peer, for the record only: it decides nothing by itself.
    origin: str
    # For an agent, and only then.
    agent: Agent | None = None

    @property
    def shown(self) -> str:
        """What people call it: the device's name, or the agent's and whose it is."""
        if self.agent is None:
            return self.device_name
        return f"{self.agent.name} (agent of {self.device_name})"

    @property
    def counted_as(self) -> str:
        """Whose requests its requests are. A device's agents share: more of them ask no more."""
        return f"agents/{self.device_id}" if self.agent else str(self)

    def __str__(self) -> str:
        """The name as receipts and messages have it: "device/dev-..."."""
        return f"{self.name.kind}/{self.name.id}"


# Set by the gate for the time of one RPC; a service that finds it empty was reached around the
# gate.
_current: ContextVar[Principal] = ContextVar("principal")


def current_principal() -> Principal:
    """The principal of the RPC being served; LookupError outside of one."""
    return _current.get()


def set_current_principal(principal: Principal) -> None:
    """For the gate alone."""
    _current.set(principal)
