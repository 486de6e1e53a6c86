"""What is remembered of connections: never more than the registry says now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from daemon.clock import Clock
from daemon.connections import MAX_REMEMBERED
from daemon.errors import Unauthenticated
from daemon.identity.agent_manifest import Declared
from daemon.identity.agents import KnownAgent
from daemon.identity.devices import Devices, Known, certificate_row
from daemon.identity.enrolment import certificate_of
from daemon.principal import Agent, Principal
from daemon.store.agents import AgentRow, AgentStatus
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.ids import AgentId, DeviceId
from identity.authority import Authority
from identity.names import AgentName
from identity.names import DeviceId as NewDeviceId
from tests.identity import making

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
ORIGIN = "ipv4:127.0.0.1:4000"

AUTHORITY = Authority.create(making.DOMAIN, START)
REQUEST = making.csr(making.p256())
IDS = [NewDeviceId.generate() for _ in range(2)]
AGENT = AgentName("build-0123456789ab-abcdefgh")
# Two certificates of each device, and one of the first device's agent.
ISSUED = [[AUTHORITY.issue_device(REQUEST, own, START, HOUR) for _ in range(2)] for own in IDS]
ISSUED_TO_AGENT = AUTHORITY.issue_agent(REQUEST, AGENT, START, HOUR)
PEMS = [*(one.pem for pair in ISSUED for one in pair), ISSUED_TO_AGENT.pem]


class Registry:
    """What a database might say, and devices that were told of it."""

    def __init__(self) -> None:
        self.now_ms = int(START.timestamp() * 1000)
        self.accepted = True
        self.known = [self._device(index) for index in range(2)]
        self.agents = [self._agent()]
        self.devices = self.fresh()

    def fresh(self) -> Devices:
        """Devices that remember nothing."""
        clock = Clock(lambda: self.now_ms, lambda: self.now_ms)
        made = Devices(making.DOMAIN, clock, lambda _: self.accepted)
        made.replace(tuple(self.known))
        made.agents.replace(tuple(self.agents))
        return made

    def _device(self, index: int) -> Known:
        own = DeviceId(str(IDS[index]))
        row = DeviceRow(own, f"device {index}", "device", DeviceStatus.ACTIVE, self.now_ms)
        return Known(row, ("owners",), tuple(certificate_row(own, one) for one in ISSUED[index]))

    def _agent(self) -> KnownAgent:
        row = AgentRow(
            AgentId(str(AGENT)),
            "build",
            DeviceId(str(IDS[0])),
            b"",
            "0" * 64,
            AgentStatus.ACTIVE,
            self.now_ms,
        )
        identity = Agent(str(AGENT), "build", "0" * 64, Declared())
        certificates = (certificate_of(row, ISSUED_TO_AGENT),)
        return KnownAgent(row, identity, "1", "", certificates)

    def revoke_device(self, index: int) -> None:
        known = self.known[index]
        self.known[index] = replace(known, row=replace(known.row, status=DeviceStatus.REVOKED))
        self.devices.put(self.known[index])

    def revoke_certificate(self, index: int, which: int) -> None:
        rows = list(self.known[index].certificates)
        rows[which] = replace(rows[which], revoked_ms=self.now_ms)
        self.known[index] = replace(self.known[index], certificates=tuple(rows))
        self.devices.put(self.known[index])

    def regroup(self, index: int, groups: tuple[str, ...]) -> None:
        self.known[index] = replace(self.known[index], groups=groups)
        self.devices.put(self.known[index])

    def revoke_agent(self) -> None:
        row = replace(self.agents[0].row, status=AgentStatus.REVOKED)
        self.agents = [replace(self.agents[0], row=row)]
        self.devices.agents.replace(tuple(self.agents))

    def passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    def retire(self) -> None:
        self.accepted = False


def answer(devices: Devices, pem: bytes, origin: str = ORIGIN) -> Principal | str:
    """The principal, or the reason for none."""
    try:
        return devices.principal(pem, origin)
    except Unauthenticated as refusal:
        return refusal.code


index = st.integers(0, 1)
CHANGES = st.one_of(
    st.builds(lambda i: lambda r: r.revoke_device(i), index),
    st.builds(lambda i, w: lambda r: r.revoke_certificate(i, w), index, index),
    st.builds(lambda i, g: lambda r: r.regroup(i, g), index, st.sampled_from([(), ("owners",)])),
    st.just(Registry.revoke_agent),
    st.just(Registry.retire),
    st.builds(lambda ms: lambda r: r.passes(ms), st.integers(0, 3_000_000)),
)


@given(st.lists(CHANGES, max_size=8))
def test_what_is_remembered_is_what_the_registry_says(changes: list) -> None:  # type: ignore[type-arg]
    """Whatever is revoked, regrouped, retired or has ended, after whatever was asked before."""
    registry = Registry()
    for change in (lambda _: None, *changes):
        change(registry)
        fresh = registry.fresh()
        for pem in PEMS:
            assert answer(registry.devices, pem) == answer(fresh, pem)


def test_a_remembered_connection_ends_with_its_device() -> None:
    """The very next question after a revocation is refused, on every connection it had."""
    registry = Registry()
    for port in range(3):
        assert isinstance(answer(registry.devices, PEMS[0], f"ipv4:[::1]:{port}"), Principal)
    assert isinstance(answer(registry.devices, PEMS[-1]), Principal)
    registry.revoke_device(0)
    for port in range(3):
        assert answer(registry.devices, PEMS[0], f"ipv4:[::1]:{port}") == "DEVICE_REVOKED"
    assert answer(registry.devices, PEMS[-1]) == "DEVICE_REVOKED"
    assert isinstance(answer(registry.devices, PEMS[2]), Principal)


def test_a_remembered_connection_ends_with_its_certificate() -> None:
    """What passes without any change of the registry, time, is looked at every time."""
    registry = Registry()
    for pem in (PEMS[0], PEMS[-1]):
        assert isinstance(answer(registry.devices, pem), Principal)
    registry.passes(3_600_001)
    for pem in (PEMS[0], PEMS[-1]):
        assert answer(registry.devices, pem) == "CERT_EXPIRED"


def test_a_remembered_connection_is_known_by_certificate_and_origin() -> None:
    """A port that another device comes from next makes it nobody else."""
    registry = Registry()
    first, second = answer(registry.devices, PEMS[0]), answer(registry.devices, PEMS[2])
    assert isinstance(first, Principal)
    assert isinstance(second, Principal)
    assert first.device_id != second.device_id
    elsewhere = answer(registry.devices, PEMS[0], "ipv4:192.0.2.7:1")
    assert isinstance(elsewhere, Principal)
    assert elsewhere.origin == "ipv4:192.0.2.7:1"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects from ever new ports fills no memory, and those who ask stay remembered."""
    registry, found = Registry(), list[bytes]()
    connections = registry.devices._connections
    find = connections._find

    def counting(pem: bytes, origin: str) -> Principal:
        found.append(pem)
        return find(pem, origin)

    monkeypatch.setattr(connections, "_find", counting)
    for port in range(2 * MAX_REMEMBERED):
        answer(registry.devices, PEMS[0], f"ipv4:192.0.2.7:{port}")
        answer(registry.devices, PEMS[2])
    assert len(connections) == MAX_REMEMBERED
    assert found.count(PEMS[2]) == 1
