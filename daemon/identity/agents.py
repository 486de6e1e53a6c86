"""The enrolled agents, as this daemon knows them now.

Trusted with which certificate is which agent's: it must be registered here for that agent, and
neither the agent nor the certificate revoked. Whether the device that answers for it still is one
is asked by `daemon.identity.devices`. The database is the truth; memory is a copy that every change
renews. Raises `Unauthenticated`.
"""

from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from daemon.errors import BadRequest, Unauthenticated
from daemon.identity.agent_manifest import Declared, parse_agent_manifest
from daemon.principal import Agent
from daemon.store import agents, certificates
from daemon.store.agents import AgentRow, AgentStatus
from daemon.store.certificates import CertificateRow
from policy.entities import AgentEntity

_ENROLL = "enroll it again from its device: `stockade agents enroll`"


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """An agent and its certificates that are good."""

    row: AgentRow
    identity: Agent
    version: str
    summary: str
    certificates: tuple[CertificateRow, ...] = field(repr=False)

    @property
    def active(self) -> bool:
        """Whether it may connect."""
        return self.row.status is AgentStatus.ACTIVE

    @property
    def expires_ms(self) -> int:
        """When its latest certificate ends; 0 if it has none."""
        return max((one.not_after for one in self.certificates), default=0)


def read_agents(connection: Connection, now_ms: int) -> tuple[KnownAgent, ...]:
    """Every agent there ever was, for `Agents.replace`."""
    good: dict[str, list[CertificateRow]] = {}
    for certificate in certificates.good_of_agents(connection, now_ms=now_ms):
        good.setdefault(str(certificate.agent_id), []).append(certificate)
    return tuple(
        _known(row, tuple(good.get(str(row.agent_id), ()))) for row in agents.list_all(connection)
    )


def _known(row: AgentRow, good: tuple[CertificateRow, ...]) -> KnownAgent:
    try:
        manifest = parse_agent_manifest(row.manifest)
    except BadRequest:
        # It was good when it was stored. What this version does not understand declares nothing.
        identity = Agent(str(row.agent_id), row.name, row.manifest_digest, Declared())
        return KnownAgent(_slim(row), identity, "", "", good)
    declared = Declared.of(manifest.capabilities, str(row.agent_id))
    identity = Agent(str(row.agent_id), row.name, row.manifest_digest, declared)
    return KnownAgent(_slim(row), identity, manifest.version, manifest.summary, good)


def _slim(row: AgentRow) -> AgentRow:
    """Without the manifest's bytes: up to 64 KiB each, and everything of them is known by now."""
    return replace(row, manifest=b"")


class Agents:
    """See the module."""

    def __init__(self) -> None:
        self._known: dict[str, KnownAgent] = {}
        self._serials: dict[str, KnownAgent] = {}
        self.changes = 0

    def replace(self, known: tuple[KnownAgent, ...]) -> None:
        """Takes over what the database says."""
        self.changes += 1
        self._known = {str(agent.row.agent_id): agent for agent in known}
        self._serials = {
            str(certificate.serial): agent
            for agent in known
            if agent.active
            for certificate in agent.certificates
        }

    @property
    def all(self) -> tuple[KnownAgent, ...]:
        """Every agent, revoked ones too, oldest first."""
        return tuple(self._known.values())

    def get(self, agent_id: str) -> KnownAgent | None:
        """The agent of that id."""
        return self._known.get(agent_id)

    def holder(self, serial: str) -> KnownAgent | None:
        """The active agent that a good certificate belongs to."""
        return self._serials.get(serial)

    def entities(self) -> tuple[AgentEntity, ...]:
        """The active agents, for policy; those of a revoked device are strangers there."""
        return tuple(agent_entity(agent) for agent in self.all if agent.active)

    def of_certificate(self, agent_id: str, serial: str) -> KnownAgent:
        """The agent of a certificate that TLS has verified; raises `Unauthenticated`."""
        agent = self._serials.get(serial)
        # Both, or a certificate registered for one agent would do for another.
        if agent is None or str(agent.row.agent_id) != agent_id:
            raise self.unknown(agent_id)
        return agent

    def certificates_of(self, agent_id: str) -> tuple[CertificateRow, ...]:
        """The good ones of an active agent; raises `Unauthenticated`."""
        agent = self._known.get(agent_id)
        if agent is None or not agent.active:
            raise self.unknown(agent_id)
        return agent.certificates

    def unknown(self, agent_id: str) -> Unauthenticated:
        """Why there is no such agent."""
        known = self._known.get(agent_id)
        if known is not None and not known.active:
            return agent_revoked()
        return Unauthenticated(
            "this certificate is not registered here, or another has taken its place",
            code="CERT_UNKNOWN",
            fix=_ENROLL,
        )


def agent_entity(agent: KnownAgent) -> AgentEntity:
    """An agent, for policy: in its device, and so in its device's groups."""
    row = agent.row
    return AgentEntity(
        str(row.agent_id), row.name, str(row.device_id), manifest_digest=row.manifest_digest
    )


def agent_revoked() -> Unauthenticated:
    """The fault of an agent that was revoked."""
    return Unauthenticated(
        "this agent was revoked",
        code="AGENT_REVOKED",
        fix="its device can enroll it with a changed manifest: `stockade agents enroll`",
    )
