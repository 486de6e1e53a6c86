"""The paired devices, as this daemon knows them now.

Trusted with the step from a verified certificate to a principal: the certificate must be in its
time, registered here, not revoked, and its device active. The database is the truth; memory is a
copy that `load` takes and every change renews, so that no RPC waits for a query. Raises
`Unauthenticated`.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from daemon.clock import Clock
from daemon.connections import Connections
from daemon.errors import Unauthenticated
from daemon.identity.agents import Agents, KnownAgent
from daemon.identity.suspended import Suspended
from daemon.principal import Principal
from daemon.store import certificates, devices
from daemon.store.certificates import CertificateRow
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.ids import DeviceId, Serial
from identity.authority import IssuedCertificate
from identity.errors import IdentityError
from identity.names import TrustDomain
from identity.peer import Peer, parse_peer
from policy.entities import AgentEntity, DeviceEntity

OWNERS = "owners"
# Where the store's `meta` has the id of the local command line's device.
LOCAL_DEVICE = "local_device"
# Peers whose certificates need not be parsed again: connections, not devices, bound it.
MAX_CACHED_PEERS = 4096
# A device gets two certificates a day: of those that have ended, the database keeps all and memory
# only the last days', to say when they ended.
ENDED_KEPT_MS = 2 * 24 * 3600 * 1000

_PAIR = (
    "pair this device again: `stockade devices invite` there; here move `client` of STOCKADE_HOME "
    "away, which has the old certificate, and `stockade pair`"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A device and the groups it is in."""

    row: DeviceRow
    groups: tuple[str, ...]
    certificates: tuple[CertificateRow, ...]

    @property
    def active(self) -> bool:
        """Whether it may connect."""
        return self.row.status is DeviceStatus.ACTIVE

    @property
    def expires_ms(self) -> int:
        """When its latest certificate ends; 0 if it has none."""
        return max((c.not_after for c in self.certificates if c.revoked_ms is None), default=0)

    def revoked(self, serial: str) -> bool:
        """Whether that certificate of it was revoked."""
        return any(
            one.revoked_ms is not None and str(one.serial) == serial for one in self.certificates
        )


def read_devices(connection: Connection, now_ms: int) -> tuple[Known, ...]:
    """Every device there ever was, for `Devices.replace`."""
    return tuple(_read(connection, row, now_ms) for row in devices.list_all(connection))


def read_device(connection: Connection, device_id: str, now_ms: int) -> Known | None:
    """One device, for `Devices.put`."""
    row = devices.get(connection, DeviceId(device_id))
    return None if row is None else _read(connection, row, now_ms)


def _read(connection: Connection, row: DeviceRow, now_ms: int) -> Known:
    since = now_ms - ENDED_KEPT_MS
    return Known(
        row,
        devices.groups(connection, row.device_id),
        certificates.of_device(connection, row.device_id, ended_after_ms=since),
    )


class Devices:
    """See the module."""

    def __init__(
        self, trust_domain: TrustDomain, clock: Clock, accepts: Callable[[str], bool]
    ) -> None:
        self._trust_domain = trust_domain
        self._clock = clock
        # Whether certificates of the authority of this name are good now.
        self._accepts = accepts
        self.agents = Agents()
        self.suspended = Suspended()
        self._known: dict[str, Known] = {}
        self._serials: dict[str, str] = {}
        self._peers: OrderedDict[bytes, Peer] = OrderedDict()
        self._changes = 0
        self._connections = Connections(
            self._find, lambda: (self._changes, self.agents.changes, self.suspended.changes)
        )

    def replace(self, known: tuple[Known, ...]) -> None:
        """Takes over what the database says."""
        self._changes += 1
        self._known = {str(device.row.device_id): device for device in known}
        self._serials = {}
        for device in known:
            self._serials |= _good_serials(device)

    def put(self, known: Known) -> None:
        """Takes over what the database says of one device."""
        self._changes += 1
        device_id = str(known.row.device_id)
        before = self._known.get(device_id)
        for certificate in before.certificates if before else ():
            self._serials.pop(str(certificate.serial), None)
        self._known[device_id] = known
        self._serials |= _good_serials(known)

    @property
    def all(self) -> tuple[Known, ...]:
        """Every device, revoked ones too, oldest first."""
        return tuple(self._known.values())

    @property
    def active(self) -> tuple[Known, ...]:
        """The devices that may connect."""
        return tuple(device for device in self._known.values() if device.active)

    def get(self, device_id: str) -> Known | None:
        """The device of that id."""
        return self._known.get(device_id)

    def name(self, device_id: str) -> str:
        """What people call that device; empty if it is not known any more."""
        device = self._known.get(device_id)
        return "" if device is None else device.row.name

    def shown(self, principal: str, device_id: str) -> str:
        """What people call a stored principal; empty if it is not known any more."""
        device = self._known.get(device_id)
        if device is None:
            return ""
        kind, _, own = principal.partition("/")
        if kind != "agent":
            return device.row.name
        agent = self.agents.get(own)
        return f"{agent.identity.name} (agent of {device.row.name})" if agent is not None else ""

    def entities(self) -> tuple[DeviceEntity | AgentEntity, ...]:
        """The active devices and agents, for policy: a revoked one does not exist there."""
        return (*map(device_entity, self.active), *self.agents.entities())

    def can_connect(self, device_id: str) -> bool:
        """Whether it has a certificate that would let it in now."""
        device, now = self._known.get(device_id), self._clock.now_ms()
        return device is not None and any(
            one.revoked_ms is None
            and now <= one.not_after
            and self._accepts(self._peer(one.pem).issuer)
            for one in device.certificates
        )

    def principal(self, pem: bytes, origin: str) -> Principal:
        """The principal of a connection whose certificate TLS has verified."""
        found = self._connections.principal(pem, origin)
        # Time passes without a change of the registry.
        if self._clock.now_ms() > found.not_after_ms:
            raise certificate_expired()
        if not self._accepts(found.issuer):
            raise _authority_retired()
        return found

    def _find(self, pem: bytes, origin: str) -> Principal:
        peer = self._peer(pem)
        if not peer.valid_at(self._clock.now()):
            raise certificate_expired()
        if not self._accepts(peer.issuer):
            raise _authority_retired()
        if peer.name.kind == "agent":
            agent = self.agents.of_certificate(str(peer.name.id), str(peer.serial))
            return self._agent(agent, peer, pem, origin)
        device_id = self._serials.get(str(peer.serial))
        if device_id is None or device_id != str(peer.name.id):
            raise self._unknown(str(peer.name.id), str(peer.serial))
        return self._device(self._known[device_id], peer, pem, origin)

    def as_principal(self, device_id: str, origin: str) -> Principal | None:
        """The principal of an active device that is not connected now: for its stored calls."""
        device = self._known.get(device_id)
        if device is None or not device.active:
            return None
        good = [one for one in device.certificates if one.revoked_ms is None]
        if not good:
            return None
        latest = max(good, key=lambda certificate: certificate.not_after)
        try:
            return self._device(device, self._peer(latest.pem), latest.pem, origin)
        except Unauthenticated:
            return None  # its certificate has ended, or it is suspended: it can do nothing

    def of_call(self, name: str, device_id: str, origin: str) -> Principal | None:
        """The principal of a stored call, by the name and device that were stored."""
        kind, _, own = name.partition("/")
        if kind != "agent":
            return self.as_principal(device_id, origin)
        agent = self.agents.get(own)
        if agent is None or not agent.active or not agent.certificates:
            return None
        latest = max(agent.certificates, key=lambda certificate: certificate.not_after)
        try:
            return self._agent(agent, self._peer(latest.pem), latest.pem, origin)
        except Unauthenticated:
            return None

    def _agent(self, agent: KnownAgent, peer: Peer, pem: bytes, origin: str) -> Principal:
        device = self._known.get(str(agent.row.device_id))
        if device is None or not device.active:
            raise device_revoked()
        self.suspended.check(f"agent/{agent.row.agent_id}")
        own = self._device(device, peer, pem, origin)
        return replace(own, groups=frozenset(), agent=agent.identity)

    def _device(self, device: Known, peer: Peer, pem: bytes, origin: str) -> Principal:
        self.suspended.check(f"device/{device.row.device_id}")
        return _principal(device, peer, pem, origin)

    def good_until_ms(self, principal: Principal) -> int:
        """How long what this principal has begun may go on; raises `Unauthenticated`: no longer.

        A key whose certificate was renewed in time goes on: see docs/adr/0011.
        """
        self.suspended.check(str(principal), f"device/{principal.device_id}")
        device, now = self._known.get(principal.device_id), self._clock.now_ms()
        if device is None or not device.active or device.revoked(principal.serial):
            raise self._unknown(principal.device_id, principal.serial)
        own = device.certificates
        if principal.agent is not None:
            own = self.agents.certificates_of(principal.agent.agent_id)
        elif now <= principal.not_after_ms and self._accepts(principal.issuer):
            return principal.not_after_ms
        good = [
            one.not_after
            for one in own
            if one.revoked_ms is None
            and one.spki.hex() == principal.key
            and now <= one.not_after
            and self._accepts(self._peer(one.pem).issuer)
        ]
        if good:
            return max(good)
        raise certificate_expired() if self._accepts(principal.issuer) else _authority_retired()

    def holder(self, serial: str) -> str | None:
        """The active device that a good certificate, its own or an agent's, belongs to."""
        agent = self.agents.holder(serial)
        return self._serials.get(serial) if agent is None else str(agent.row.device_id)

    def _unknown(self, device_id: str, serial: str) -> Unauthenticated:
        device = self._known.get(device_id)
        if device is not None and not device.active:
            return device_revoked()
        if device is not None and device.revoked(serial):
            return certificate_revoked()
        return Unauthenticated(
            "this certificate is not registered here", code="CERT_UNKNOWN", fix=_PAIR
        )

    def _peer(self, pem: bytes) -> Peer:
        peer = self._peers.get(pem)
        if peer is not None:
            self._peers.move_to_end(pem)
        else:
            try:
                peer = parse_peer(pem, self._trust_domain, self._clock.now())
            except IdentityError as error:
                raise Unauthenticated(error.message, code=str(error.code), fix=error.fix) from None
            self._peers[pem] = peer
            if len(self._peers) > MAX_CACHED_PEERS:
                self._peers.popitem(last=False)
        return peer


def _good_serials(device: Known) -> dict[str, str]:
    return {
        str(certificate.serial): str(device.row.device_id)
        for certificate in device.certificates
        if device.active and certificate.revoked_ms is None
    }


def device_entity(device: Known) -> DeviceEntity:
    """A device, for policy."""
    return DeviceEntity(str(device.row.device_id), device.row.name, device.groups)


def device_revoked() -> Unauthenticated:
    """The fault of a device that was revoked."""
    return Unauthenticated("this device was revoked", code="DEVICE_REVOKED", fix=_PAIR)


def certificate_revoked() -> Unauthenticated:
    """The fault of a certificate that was revoked alone."""
    return Unauthenticated("this certificate was revoked", code="CERT_REVOKED", fix=_PAIR)


def certificate_expired() -> Unauthenticated:
    """The fault of a certificate that has ended."""
    return Unauthenticated("the certificate has expired", code="CERT_EXPIRED", fix=_PAIR)


def _authority_retired() -> Unauthenticated:
    return Unauthenticated(
        "the authority that issued this certificate has been retired",
        code="AUTHORITY_RETIRED",
        fix=_PAIR,
    )


def _principal(device: Known, peer: Peer, pem: bytes, origin: str) -> Principal:
    return Principal(
        name=peer.name,
        device_id=str(device.row.device_id),
        device_name=device.row.name,
        groups=frozenset(device.groups),
        serial=str(peer.serial),
        certificate=pem,
        not_after_ms=int(peer.not_after.timestamp() * 1000),
        key=str(peer.spki_sha256),
        issuer=peer.issuer,
        origin=origin,
    )


def certificate_row(device_id: DeviceId, issued: IssuedCertificate) -> CertificateRow:
    """What the registry keeps of a certificate."""
    return CertificateRow(
        serial=Serial(issued.serial),
        device_id=device_id,
        spki=bytes.fromhex(issued.spki_sha256),
        pem=issued.pem,
        not_before=int(issued.not_before.timestamp() * 1000),
        not_after=int(issued.not_after.timestamp() * 1000),
    )
