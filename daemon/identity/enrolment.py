"""Changes of the agents: each recorded first, then in force at once.

Trusted so that an agent is what its manifest says and no other: the id is made of the name, the
manifest's digest and the device, so a changed manifest is another agent, and the one that had the
name before is out before the new one is in. An id that was revoked never comes back. Raises
`BadRequest`, `Conflict`, `NotFound`, `Exhausted`, and `Unavailable` when it cannot be recorded.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from daemon.errors import BadRequest, Conflict, Exhausted, NotFound
from daemon.identity.agent_manifest import manifest_digest, parse_agent_manifest
from daemon.identity.agents import Agents, KnownAgent
from daemon.store import agents, certificates, devices
from daemon.store.agents import AgentRow, AgentStatus
from daemon.store.certificates import CertificateRow
from daemon.store.commit import Tx
from daemon.store.devices import DeviceStatus
from daemon.store.ids import AgentId, DeviceId, Serial
from daemon.store.writer import Writer
from daemon.worlds import Worlds
from identity.authority import IssuedCertificate
from identity.names import AgentName
from ledger.chain import Entry

# Active ones; each is a certificate to renew and an entity in every question.
MAX_AGENTS_OF_A_DEVICE = 64
# Of one device or agent. The client renews half-way, so two are in use at a time.
MAX_GOOD_CERTIFICATES = 64
# Also of those that were replaced: each is kept for good, so that its id is not given twice.
MAX_ENROLLED_IN_A_DAY = 256
DAY_MS = 24 * 3600 * 1000
DIGEST_DIGITS, DEVICE_CHARACTERS = 12, 8

REVOKED, REPLACED, RENEWED, DEVICE_REVOKED = (
    "AGENT_REVOKED",
    "AGENT_REPLACED",
    "AGENT_ENROLLED_AGAIN",
    "DEVICE_REVOKED",
)

Issue = Callable[[bytes, AgentName, datetime, timedelta], Awaitable[IssuedCertificate]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment made."""

    agent: KnownAgent
    issued: IssuedCertificate
    entry: Entry
    # The id of the agent whose place it takes; empty if none.
    replaces: str


def agent_id(name: str, digest: str, device_id: str) -> AgentName:
    """The one id of this manifest under this name, of this device."""
    device = device_id.removeprefix("dev-")[:DEVICE_CHARACTERS]
    return AgentName(f"{name}-{digest[:DIGEST_DIGITS]}-{device}")


class Enrolment:
    """See the module."""

    def __init__(
        self,
        *,
        issue: Issue,
        agents: Agents,
        worlds: Worlds,
        writer: Writer,
        reload: Callable[[], Awaitable[None]],
        now: Callable[[], datetime],
        lifetime: timedelta,
        cut: Callable[[str, str], None],
    ) -> None:
        self._issue = issue
        self._agents = agents
        self._worlds = worlds
        self._writer = writer
        self._reload = reload
        self._now = now
        self._lifetime = lifetime
        # Ends the RPCs and calls of an agent, for a reason.
        self._cut = cut

    async def enroll(
        self, name: str, manifest: bytes, csr_pem: bytes, device_id: str, principal: str
    ) -> Enrolled:
        """Makes an agent of this device, or gives one that it has a new certificate."""
        parsed, digest = parse_agent_manifest(manifest), manifest_digest(manifest)
        if parsed.name != name:
            raise BadRequest(
                f"the agent's manifest: name: must be {name!r:.80}, the name it is enrolled under",
                code="AGENT_MANIFEST_INVALID",
                fix="enroll it under the manifest's own name",
            )
        new_id = agent_id(name, digest, device_id)
        issued = await self._issue(csr_pem, new_id, self._now(), self._lifetime)
        row = AgentRow(
            AgentId(str(new_id)),
            name,
            DeviceId(device_id),
            manifest,
            digest,
            AgentStatus.ACTIVE,
            self._now_ms(),
        )
        async with self._worlds.changing():
            entry, ended = await self._writer.write(
                lambda tx: _record(tx, row, certificate_of(row, issued), principal)
            )
            with anyio.CancelScope(shield=True):
                await self._reload()
                for gone, reason in ended.items():
                    self._cut(gone, reason)
                await self._worlds.refresh_devices()
        known = self._agents.get(str(new_id))
        if known is None:
            raise unknown_agent(str(new_id))
        replaces = next((gone for gone, why in ended.items() if why == REPLACED), "")
        return Enrolled(known, issued, entry, replaces)

    async def renew(self, csr_pem: bytes, agent: str, principal: str) -> IssuedCertificate:
        """Another certificate for an active agent; the one it has stays good until it ends."""
        known = self._agents.get(agent)
        issued = await self._issue(csr_pem, AgentName(agent), self._now(), self._lifetime)

        def operation(tx: Tx) -> None:
            found = agents.get(tx.connection, AgentId(agent))
            if found is None or found.status is not AgentStatus.ACTIVE:
                raise Conflict(
                    "this agent was revoked", code=REVOKED, fix="enroll it again from its device"
                )
            row = certificate_of(found, issued)
            require_room(tx, row, self._now_ms())
            certificates.add(tx.connection, row)
            body = {
                "agent": agent,
                "manifest_digest": found.manifest_digest,
                "serial": str(row.serial),
                "not_after": row.not_after,
            }
            tx.receipt("agent.renewed", body, principal=principal)

        async with self._worlds.changing():
            # A renewal for another key than that of enrolment would outlive the device's word.
            keys = {one.spki.hex() for one in known.certificates} if known else set()
            if issued.spki_sha256 not in keys:
                raise BadRequest(
                    "an agent renews the key that it was enrolled with",
                    code="AGENT_KEY_CHANGED",
                    fix="for a new key enroll it again from its device: `stockade agents enroll`",
                )
            await self._writer.write(operation)
            await self._reload()
        return issued

    async def revoke(self, agent: str, principal: str) -> Entry:
        """Ends an agent."""
        async with self._worlds.changing():

            def operation(tx: Tx) -> Entry:
                now = self._now_ms()
                found = agents.get(tx.connection, AgentId(agent))
                if found is None or found.status is not AgentStatus.ACTIVE:
                    raise unknown_agent(agent)
                return end(tx, found, REVOKED, now, principal)

            entry = await self._writer.write(operation)
            with anyio.CancelScope(shield=True):
                await self._reload()
                self._cut(agent, REVOKED)
                await self._worlds.refresh_devices()
        return entry

    def _now_ms(self) -> int:
        return int(self._now().timestamp() * 1000)


def end(tx: Tx, agent: AgentRow, reason: str, now_ms: int, principal: str) -> Entry:
    """Ends an agent and its certificates; the receipt of it."""
    agents.revoke(tx.connection, agent.agent_id, now_ms=now_ms)
    certificates.revoke_agent(tx.connection, agent.agent_id, now_ms=now_ms)
    body = {
        "principal": principal,
        "agent": str(agent.agent_id),
        "manifest_digest": agent.manifest_digest,
        "device": str(agent.device_id),
        "reason": reason,
    }
    return tx.receipt("agent.revoked", body, principal=principal)


def end_all(tx: Tx, device_id: str, now_ms: int, principal: str) -> None:
    """Ends the agents of a device that is being revoked."""
    for agent in agents.active_of(tx.connection, DeviceId(device_id)):
        end(tx, agent, DEVICE_REVOKED, now_ms, principal)


def require_room(tx: Tx, row: CertificateRow, now_ms: int) -> None:
    """Refuses a renewal beyond what a device or agent can be using: each is kept and looked at."""
    found = certificates.count_good(tx.connection, row.device_id, row.agent_id, now_ms=now_ms)
    if found >= MAX_GOOD_CERTIFICATES:
        raise Exhausted(
            f"{found} certificates of it have not ended yet",
            code="TOO_MANY_CERTIFICATES",
            fix="use one of them, or wait until they end; an owner can revoke some",
        )


def unknown_agent(agent: str) -> NotFound:
    """The one answer for an agent that is not there and for one that may not be seen."""
    return NotFound(
        f"there is no active agent {agent!r:.80}",
        code="UNKNOWN_AGENT",
        fix="`stockade agents list` shows them",
    )


def certificate_of(agent: AgentRow, issued: IssuedCertificate) -> CertificateRow:
    """What the registry keeps of an agent's certificate."""
    return CertificateRow(
        serial=Serial(issued.serial),
        device_id=agent.device_id,
        spki=bytes.fromhex(issued.spki_sha256),
        pem=issued.pem,
        not_before=int(issued.not_before.timestamp() * 1000),
        not_after=int(issued.not_after.timestamp() * 1000),
        agent_id=agent.agent_id,
    )


def _record(
    tx: Tx, row: AgentRow, certificate: CertificateRow, principal: str
) -> tuple[Entry, dict[str, str]]:
    """Stores an enrolment; the receipt, and who has to go, why."""
    device = devices.get(tx.connection, row.device_id)
    if device is None or device.status is not DeviceStatus.ACTIVE:
        raise Conflict("this device was revoked", code=DEVICE_REVOKED, fix="pair it again")
    now, ended = row.created_ms, dict[str, str]()
    others = agents.active_of(tx.connection, row.device_id)
    for other in others:
        if other.name == row.name and other.agent_id != row.agent_id:
            end(tx, other, REPLACED, now, principal)
            ended[str(other.agent_id)] = REPLACED
    if agents.add(tx.connection, row):
        if agents.count_since(tx.connection, row.device_id, now - DAY_MS) > MAX_ENROLLED_IN_A_DAY:
            raise Exhausted(
                f"a device enrolls at most {MAX_ENROLLED_IN_A_DAY} agents in a day",
                code="TOO_MANY_AGENTS",
                fix="enroll fewer, changed less often",
            )
        if len(others) - len(ended) >= MAX_AGENTS_OF_A_DEVICE:
            raise Exhausted(
                f"a device has at most {MAX_AGENTS_OF_A_DEVICE} agents",
                code="TOO_MANY_AGENTS",
                fix="end one: `stockade agents revoke`",
            )
    else:
        _same_again(tx, row)
        certificates.revoke_agent(tx.connection, row.agent_id, now_ms=now)
        ended[str(row.agent_id)] = RENEWED
    certificates.add(tx.connection, certificate)
    body = {
        "principal": principal,
        "agent": str(row.agent_id),
        "name": row.name,
        "device": str(row.device_id),
        "manifest_digest": row.manifest_digest,
        "serial": str(certificate.serial),
        "key": certificate.spki.hex(),
        "not_after": certificate.not_after,
        "replaces": sorted(gone for gone, why in ended.items() if why == REPLACED),
    }
    return tx.receipt("agent.enrolled", body, principal=principal), ended


def _same_again(tx: Tx, row: AgentRow) -> None:
    """The id is taken: by this very agent, still active, or it is refused."""
    found = agents.get(tx.connection, row.agent_id)
    if found is None or (found.device_id, found.manifest) != (row.device_id, row.manifest):
        raise Conflict(
            "another agent has this id: its manifest's digest begins the same",
            code="AGENT_ID_TAKEN",
            fix="change anything in the manifest",
        )
    if found.status is not AgentStatus.ACTIVE:
        raise Conflict(
            "this manifest was revoked under this name",
            code=REVOKED,
            fix="a revoked agent does not come back: change its manifest (say, the version)",
        )
