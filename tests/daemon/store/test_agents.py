"""The contract of the store of agents, and of their certificates among a device's."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from daemon.store import agents, certificates, devices
from daemon.store.agents import AgentRow, AgentStatus
from daemon.store.certificates import CertificateRow
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import AgentId, DeviceId, Serial
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race

DEVICE = DeviceId("d1")
ID = AgentId("build-1")


def row(agent: str = "build-1", device: str = "d1", created_ms: int = 1) -> AgentRow:
    status = AgentStatus.ACTIVE
    return AgentRow(AgentId(agent), "build", DeviceId(device), b"\0toml", "ff", status, created_ms)


def issued(serial: str, agent: str | None, not_after: int = 100) -> CertificateRow:
    found = None if agent is None else AgentId(agent)
    return CertificateRow(Serial(serial), DEVICE, b"spki", b"pem", 1, not_after, agent_id=found)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    with writing(engine).begin() as connection:
        for device in ("d1", "d2"):
            one = DeviceRow(DeviceId(device), "laptop", "device", DeviceStatus.ACTIVE, 1)
            assert devices.add(connection, one)
        assert agents.add(connection, row())
    return engine


def test_agents_are_read_as_they_were_stored(stored: Engine) -> None:
    """Every field survives, the manifest byte for byte; the list is in the order of enrolling."""
    with writing(stored).begin() as connection:
        assert agents.add(connection, row("build-0", "d2", created_ms=2))
        assert agents.get(connection, ID) == row()
        assert agents.get(connection, AgentId("none")) is None
        assert agents.list_all(connection) == (row(), row("build-0", "d2", created_ms=2))
        assert agents.active_of(connection, DEVICE) == (row(),)


def test_an_agent_is_some_devices(stored: Engine) -> None:
    """Nobody answers for an agent of a device that does not exist: it cannot be stored."""
    with writing(stored).begin() as connection, pytest.raises(StoreFault) as caught:
        agents.add(connection, row("build-2", "none"))
    assert caught.value.code == "STORE_CONFLICT"


def test_a_revoked_agent_stays_revoked(stored: Engine) -> None:
    """Revoking happens once, and the id cannot be enrolled again."""
    with writing(stored).begin() as connection:
        assert agents.revoke(connection, ID, now_ms=9)
        assert not agents.revoke(connection, ID, now_ms=10)
        assert not agents.add(connection, row())
        expected = replace(row(), status=AgentStatus.REVOKED, revoked_ms=9)
        assert agents.get(connection, ID) == expected
        assert agents.active_of(connection, DEVICE) == ()


@pytest.mark.usefixtures("stored")
def test_an_agent_is_revoked_once(engines: EngineFactory) -> None:
    """Of several that revoke at once one is told that it did."""

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return agents.revoke(connection, ID, now_ms=1)

    assert race(engines, attempt) == 1


def test_an_agents_certificates_are_not_its_devices(stored: Engine) -> None:
    """A device's list has its own alone; an agent's are those that are still good."""
    with writing(stored).begin() as connection:
        for one in (issued("0a", None), issued("0b", ID), issued("0c", ID, not_after=5)):
            assert certificates.add(connection, one)
        assert certificates.of_device(connection, DEVICE) == (issued("0a", None),)
        assert certificates.good_of_agents(connection, now_ms=50) == (issued("0b", ID),)
        assert certificates.get(connection, Serial("0b")) == issued("0b", ID)


def test_revoking_an_agent_spares_its_device_and_not_the_other_way_round(stored: Engine) -> None:
    """An agent's end is its own; its device's end is that of all its agents."""
    with writing(stored).begin() as connection:
        for one in (issued("0a", None), issued("0b", ID)):
            certificates.add(connection, one)
        assert certificates.revoke_agent(connection, ID, now_ms=7) == 1
        assert certificates.revoked(connection, now_ms=50) == {"0b"}
        assert certificates.good_of_agents(connection, now_ms=50) == ()
        certificates.add(connection, issued("0d", ID))
        assert certificates.revoke_device(connection, DEVICE, now_ms=8) == 2
        assert certificates.revoked(connection, now_ms=50) == {"0a", "0b", "0d"}
